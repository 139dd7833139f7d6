"""From a photo to a bundle: read, check, align, fit, cut into layers, write."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facestream.avatar.adapter import TUNE_AGAIN
from facestream.avatar.bundle import BUNDLE_SUFFIX, BundleError, load_bundle, make_manifest, read_portrait, save_bundle
from facestream.avatar.closed_lids import real_lids
from facestream.avatar.enamel import real_enamel
from facestream.avatar.face_model import FaceModel, load_face_model
from facestream.avatar.fit import fit_face
from facestream.avatar.hair import hair_mask
from facestream.avatar.layers import build_layers
from facestream.avatar.layers_canvas import CONSTANTS
from facestream.avatar.lip_closing import with_closed_lips
from facestream.avatar.matte import person_matte
from facestream.avatar.photo import OF_THE_PHOTO, PhotoError, mouth_gap, prepare_portrait, read_photo
from facestream.avatar.quality import assess
from facestream.avatar.views import CLIPS, SMILE_GAP, Views, choose

FROM_OTHERS = ("real_teeth", "real_lids")
"""Measures in the manifest that tell what was taken from pictures other than the portrait."""


@dataclass(frozen=True)
class Built:
    """What `build_avatar` made."""

    path: Path
    warnings: tuple[str, ...]
    """What is doubtful about the photo, in words for its owner."""
    notes: tuple[str, ...]
    """What was taken from which picture."""
    seconds: float
    """How long it took."""


@dataclass(frozen=True)
class _Label:
    """What a bundle says of itself."""

    name: str
    licence: str
    consent: str
    source: str
    source_sha256: str


def build_avatar(
    photo: Path, output: Path, *, name: str, licence: str, consent: str, also: Sequence[Path] = ()
) -> Built:
    """Make the avatar `name` of a photo and write its bundle.

    Args:
        photo: a picture of one person, from the front, lips closed; or a clip of one.
        output: the bundle to write, or a folder for NAME.avatar.
        name: letters, digits, '-' and '_' of ASCII, first a letter or digit, at most 64.
        licence: under which the avatar may be passed on.
        consent: one of facestream.avatar.bundle.CONSENT.
        also: more pictures and clips of the same person: teeth and closed lids are taken from them, and the portrait,
            if one of them makes a better one.

    Raises:
        PhotoError: the photo will not do; the message says what to change.
        ValueError: the name or the consent is not valid.
        OSError: the bundle cannot be written.
    """
    began = time.monotonic()
    model = load_face_model()
    if also or photo.suffix.lower() in CLIPS:
        views = choose(photo, also, model)
    else:
        picture = read_photo(photo)
        with _told_of(photo.name):
            views = Views(prepare_portrait(picture, model), photo.name, photo)
    label = _Label(name, licence, consent, views.source.name, _sha256(views.source))
    path = output / f"{name}{BUNDLE_SUFFIX}" if output.is_dir() else output
    with _told_of(views.chosen):
        return _build(views, model, path, label, began)


@contextmanager
def _told_of(name: str) -> Iterator[None]:
    """A PhotoError says of which picture it speaks."""
    try:
        yield
    except PhotoError as error:
        raise PhotoError(f"{name}: {error}") from error


def _sha256(path: Path) -> str:
    """Read in blocks: a clip may have gigabytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def rebuild_avatar(bundle: Path, output: Path) -> Built:
    """Make a bundle again from the portrait that it holds: an older version's, or this one's after the code changed.

    Name, licence, consent and source stay as they are, and what the manifest knows of the photo that the portrait was
    cut from. What was taken from other pictures or learned from the person's video is lost, and said so. The face is
    found anew, in the portrait: landmarks lie a tenth of a pixel beside those found in the photo, and mesh, seams and
    painted layers differ by as much from those of `build_avatar`.

    Raises:
        BundleError: the file is no bundle, or of a newer version.
        PhotoError: its portrait does not pass today's checks.
    """
    began = time.monotonic()
    photo, manifest = read_portrait(bundle)
    model = load_face_model()
    source, measured = (value if isinstance(value := manifest.get(key), dict) else {} for key in ("source", "quality"))
    label = _Label(
        manifest["name"],
        manifest["licence"],
        manifest["consent"],
        str(source.get("file", "unknown"))[:255],
        str(source.get("sha256", ""))[:64],
    )
    lost = [what for what in FROM_OTHERS if measured.get(what)]
    notes = [f"{' and '.join(lost)} of other pictures are not in the bundle: build it from them again"] if lost else []
    if _tuned(bundle):
        notes.append(f"it was tuned to its person's own video, which is undone: {TUNE_AGAIN}")
    of_photo = {
        name: float(value)
        for name in OF_THE_PHOTO
        if isinstance(value := measured.get(name), int | float) and abs(value) < 1e6  # neither endless nor NaN
    }
    with _told_of(bundle.name):
        portrait = prepare_portrait(photo, model, aligned=True, of_photo=of_photo)
        views = Views(portrait, bundle.name, bundle, notes=tuple(notes))
        return _build(views, model, output, label, began)


def _tuned(bundle: Path) -> bool:
    """Whether a bundle of this version has an adapter of its own; older ones have none."""
    try:
        return bool(load_bundle(bundle).tensors["AVATAR_ADAPTER"].any())
    except BundleError:
        return False


def _build(views: Views, model: FaceModel, path: Path, label: _Label, began: float) -> Built:
    portrait = views.portrait
    smile = views.smile
    if smile is None and mouth_gap(portrait.landmarks) > SMILE_GAP:
        smile = portrait.image, portrait.landmarks
    portrait = with_closed_lips(portrait, model)
    matte = person_matte(portrait.image, portrait.landmarks)
    hair = hair_mask(portrait.image, matte, portrait.landmarks)
    quality = assess(portrait.image, portrait.landmarks, matte, hair)
    fit = fit_face(portrait.image, portrait.landmarks, model)
    try:
        tensors = build_layers(fit, model, matte, hair)
    except ValueError as error:
        raise PhotoError(
            f"the face is not shaped as the avatar's windows need it: {error}; a photo straight from the front may do"
        ) from error
    measures = {**portrait.measures, **quality.measures}
    measures["fit_median_px"], measures["fit_p95_px"] = (round(error, 3) for error in fit.error_px)
    notes = list(views.notes)
    if smile is not None and (enamel := real_enamel(*smile, portrait.image, portrait.landmarks)) is not None:
        first, count = CONSTANTS["enamel"]
        constants = np.array(tensors["AVATAR_CONSTANTS"], np.float32)
        constants[first : first + count] = enamel
        tensors["AVATAR_CONSTANTS"] = constants
        measures[FROM_OTHERS[0]] = 1.0
        notes.append("the teeth have the colour that they have in the picture")
    if views.blink is not None:
        tensors["AVATAR_LIDS"] = real_lids(
            np.asarray(tensors["AVATAR_LIDS"], np.uint8), portrait.image, portrait.landmarks, *views.blink, fit.scale
        )
        measures[FROM_OTHERS[1]] = 1.0
    warnings = (*portrait.warnings, *quality.warnings)
    manifest = make_manifest(
        label.name,
        licence=label.licence,
        consent=label.consent,
        source=label.source,
        source_sha256=label.source_sha256,
        quality=measures,
        warnings=warnings,
    )
    save_bundle(path, tensors, manifest)
    return Built(path, warnings, tuple(notes), time.monotonic() - began)
