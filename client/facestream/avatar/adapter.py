"""AVATAR_ADAPTER, what an avatar was tuned by to its person's own video, fits the networks that it was found with.

The numbers steer layers of the learned renderer. In another training of it the same numbers mean something else, and
would spoil the face instead of bettering it. So a tuned bundle says in its manifest whose they are, and a model
repository says in `avatar_store/refiner_weights.txt` what it serves: a checksum, written by `python -m
export.face.export` beside the networks.
"""

from __future__ import annotations

from pathlib import Path

from facestream.avatar.bundle import Bundle, BundleError, rebuild_command

SERVED = "refiner_weights.txt"

TUNE_AGAIN = "tune it again with `python -m export.face.personalise`"
"""What to do with a bundle whose adapter fits no more, or is gone."""


def check_adapter(bundle: Bundle, store: Path) -> None:
    """Refuse an avatar that was tuned to other weights than a repository serves; one that was not tuned fits all.

    Args:
        bundle: the avatar.
        store: folder of the stage `avatar_store` in the repository.

    Raises:
        BundleError: the adapter is of other weights, the bundle does not say of which, or the repository does not say
            which ones it has.
    """
    if not bundle.tensors["AVATAR_ADAPTER"].any():
        return
    try:
        served = (store / SERVED).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BundleError(
            f"avatar {bundle.name!r} was tuned to its person, and {store / SERVED}, which would tell whether that fits,"
            f" cannot be read ({error.strerror}): write it with `python -m export.face.export`"
        ) from error
    own = tuned_to(bundle)
    if own != served:
        raise BundleError(
            f"avatar {bundle.name!r} was tuned to weights {own or 'that it does not name'} of the learned renderer, and"
            f" this server has {served}: {TUNE_AGAIN}, or take the tuning out with"
            f" {rebuild_command(bundle.file)}"
        )


def tuned_to(bundle: Bundle) -> str:
    """The checksum of the weights that an avatar was tuned to; empty where its manifest does not say."""
    told = bundle.manifest.get("quality")
    told = told.get("personalised") if isinstance(told, dict) else None
    weights = told.get("weights") if isinstance(told, dict) else None
    return weights[:64] if isinstance(weights, str) and weights.isascii() and weights.isalnum() else ""
