"""The avatars that this server shows: read-only bundles, loaded once and shared by all sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facestream.avatar.bundle import BUNDLE_SUFFIX, BundleError, load_bundle
from facestream.sequence import BadInput, SessionRefused
from numpy.typing import NDArray

AvatarTensors = Mapping[str, NDArray[Any]]


class AvatarShelf:
    """Bundles by name, from several folders; the first folder that holds a name wins."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._loaded: dict[str, tuple[Path, int, AvatarTensors]] = {}  # file, its modification time, tensors

    def names(self) -> list[str]:
        """Avatars that can be asked for now."""
        return sorted({path.stem for folder in self._folders for path in folder.glob(f"*{BUNDLE_SUFFIX}")})

    def take(self, name: str) -> AvatarTensors:
        """The tensors of an avatar; a bundle that was added or rebuilt since the start is found too.

        Raises:
            BadInput: there is no such avatar.
            SessionRefused: its bundle is broken.
        """
        path = next((found for folder in self._folders if (found := folder / f"{name}{BUNDLE_SUFFIX}").is_file()), None)
        if path is None:
            raise BadInput(f"AVATAR {name!r} is unknown, expected one of: {', '.join(self.names()) or 'none yet'}")
        changed = path.stat().st_mtime_ns
        held = self._loaded.get(name)
        if held is None or held[:2] != (path, changed):
            try:
                tensors = load_bundle(path).tensors
            except BundleError as error:
                raise SessionRefused(f"AVATAR {name!r}: {error}") from error
            # Copies, because DLPack hands out writable arrays only, and would copy read-only ones for every frame.
            held = (path, changed, {key: array.copy() for key, array in tensors.items()})
            self._loaded[name] = held
        return held[2]


class AvatarChoice:
    """The avatar of one session: chosen by its first request, the same ever after."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._tensors: AvatarTensors = {}

    def tensors(self, name: str, shelf: AvatarShelf) -> AvatarTensors:
        """The session's avatar.

        Raises:
            BadInput: there is no such avatar, or a later request names another one. The session keeps its own.
            SessionRefused: the avatar's bundle is broken.
        """
        if self._name is None:
            self._tensors = shelf.take(name)
            self._name = name
        elif name != self._name:
            raise BadInput(f"AVATAR {name!r} in mid-session, expected {self._name!r} as at its START")
        return self._tensors
