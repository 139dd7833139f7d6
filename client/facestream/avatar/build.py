"""From a photo to a bundle: read, check, align, fit, cut into layers, write."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from facestream.avatar.bundle import BUNDLE_SUFFIX, make_manifest, save_bundle
from facestream.avatar.face_model import load_face_model
from facestream.avatar.fit import fit_face
from facestream.avatar.layers import build_layers
from facestream.avatar.photo import PhotoError, prepare_portrait, read_photo


@dataclass(frozen=True)
class Built:
    """What `build_avatar` made."""

    path: Path
    warnings: tuple[str, ...]
    """What is doubtful about the photo, in words for its owner."""


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
    image = read_photo(photo)
    model = load_face_model()
    portrait = prepare_portrait(image, model)
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
        source=photo.name,
        source_sha256=hashlib.sha256(photo.read_bytes()).hexdigest(),
        quality={**portrait.measures, "fit_median_px": round(median, 3), "fit_p95_px": round(worst, 3)},
        warnings=portrait.warnings,
    )
    path = output / f"{name}{BUNDLE_SUFFIX}" if output.is_dir() else output
    save_bundle(path, tensors, manifest)
    return Built(path, portrait.warnings)
