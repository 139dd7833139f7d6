"""From a photo to a bundle: read, check, align, fit, cut into layers, write."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from facestream.avatar.bundle import BUNDLE_SUFFIX, make_manifest, read_portrait, save_bundle
from facestream.avatar.face_model import FaceModel, load_face_model
from facestream.avatar.fit import fit_face
from facestream.avatar.layers import build_layers
from facestream.avatar.lip_closing import with_closed_lips
from facestream.avatar.photo import PhotoError, Portrait, prepare_portrait, read_photo


@dataclass(frozen=True)
class Built:
    """What `build_avatar` made."""

    path: Path
    warnings: tuple[str, ...]
    """What is doubtful about the photo, in words for its owner."""
    seconds: float
    """How long it took."""


def build_avatar(photo: Path, output: Path, *, name: str, licence: str, consent: str) -> Built:
    """Make the avatar `name` of a photo and write its bundle.

    Args:
        photo: a picture of one person, from the front, lips closed.
        output: the bundle to write, or a folder for NAME.avatar.
        name: letters, digits, '-' and '_', at most 64.
        licence: under which the avatar may be passed on.
        consent: one of facestream.avatar.bundle.CONSENT.

    Raises:
        PhotoError: the photo will not do; the message says what to change.
        ValueError: the name or the consent is not valid.
    """
    began = time.monotonic()
    data = _bytes(photo)
    model = load_face_model()
    portrait = prepare_portrait(read_photo(photo), model)
    source = {"source": photo.name, "source_sha256": hashlib.sha256(data).hexdigest()}
    path = output / f"{name}{BUNDLE_SUFFIX}" if output.is_dir() else output
    return _build(portrait, model, path, began, name=name, licence=licence, consent=consent, **source)


def rebuild_avatar(bundle: Path, output: Path) -> Built:
    """Make a bundle again from the portrait that it holds: an older version's, or this one's after the code changed.

    Name, licence, consent and source stay as they are.

    Raises:
        BundleError: the file is no bundle, or of a newer version.
        PhotoError: its portrait does not pass today's checks.
    """
    began = time.monotonic()
    photo, manifest = read_portrait(bundle)
    model = load_face_model()
    portrait = prepare_portrait(photo, model, aligned=True)
    source = manifest.get("source")
    known = source if isinstance(source, dict) else {}
    return _build(
        portrait,
        model,
        output,
        began,
        name=manifest["name"],
        licence=manifest["licence"],
        consent=manifest["consent"],
        source=str(known.get("file", "unknown"))[:255],
        source_sha256=str(known.get("sha256", ""))[:64],
    )


def _bytes(photo: Path) -> bytes:
    try:
        return photo.read_bytes()
    except FileNotFoundError as error:
        raise PhotoError(f"{photo}: there is no such file") from error
    except OSError as error:
        raise PhotoError(f"{photo}: cannot be read ({error.strerror})") from error


def _build(
    portrait: Portrait,
    model: FaceModel,
    path: Path,
    began: float,
    *,
    name: str,
    licence: str,
    consent: str,
    source: str,
    source_sha256: str,
) -> Built:
    portrait = with_closed_lips(portrait, model)
    fit = fit_face(portrait.image, portrait.landmarks, model)
    try:
        tensors = build_layers(fit, model)
    except ValueError as error:
        raise PhotoError(f"the face is not shaped as the avatar's windows need it: {error}") from error
    median, worst = fit.error_px
    manifest = make_manifest(
        name,
        licence=licence,
        consent=consent,
        source=source,
        source_sha256=source_sha256,
        quality={**portrait.measures, "fit_median_px": round(median, 3), "fit_p95_px": round(worst, 3)},
        warnings=portrait.warnings,
    )
    save_bundle(path, tensors, manifest)
    return Built(path, portrait.warnings, time.monotonic() - began)
