"""The avatars that this server shows: read-only bundles, loaded once and shared by all sessions.

On a GPU they are brought there once, and from then on every frame is given the very arrays that lie there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from facestream.array_namespace import HOST, Array, ArrayNamespace
from facestream.avatar.adapter import check_adapter
from facestream.avatar.bundle import BUNDLE_SUFFIX, BundleError, load_bundle
from facestream.sequence import BadInput, SessionRefused

AvatarTensors = Mapping[str, Array]

HELD: Final = 256
"""Avatars that the shelf keeps, 1.5 MB each: 400 MB of host memory or of the GPU's. The one asked for longest ago goes
first; sessions that show it keep it for themselves."""


class AvatarShelf:
    """Bundles by name, from several folders; the first folder that holds a name wins."""

    def __init__(self, folders: Sequence[Path], store: Path, arrays: ArrayNamespace = HOST, held: int = HELD) -> None:
        """`store` is the stage's own folder, `arrays` says where tensors are kept, `held` how many avatars at most."""
        self._folders = folders
        self._store = store
        self._arrays = arrays
        self._held = held
        self._loaded: dict[str, tuple[Path, int, AvatarTensors]] = {}  # file, its modification time, tensors

    def names(self) -> list[str]:
        """Avatars that can be asked for now."""
        return sorted({path.stem for folder in self._folders for path in folder.glob(f"*{BUNDLE_SUFFIX}")})

    def take(self, name: str) -> AvatarTensors:
        """The tensors of an avatar; a bundle that was added or rebuilt since the start is found too.

        Raises:
            BadInput: there is no such avatar.
            SessionRefused: its bundle is broken or tuned to other networks, or there is no memory left for it.
        """
        path = self._find(name)
        changed = path.stat().st_mtime_ns
        held = self._loaded.get(name)
        if held is None or held[:2] != (path, changed):
            try:
                bundle = load_bundle(path)
                check_adapter(bundle, self._store)
            except BundleError as error:
                raise SessionRefused(f"AVATAR {name!r}: {error}") from error
            # Copies, because DLPack hands out writable arrays only, and would copy read-only ones for every frame.
            try:
                copies = {key: self._arrays.copy(np.ascontiguousarray(array)) for key, array in bundle.tensors.items()}
                self._arrays.synchronize()
            except MemoryError as error:  # CuPy's is one, too
                raise SessionRefused(
                    f"AVATAR {name!r}: no memory for it beside {len(self._loaded)} others: {error}; try again later"
                ) from error
            held = (path, changed, copies)
        self._loaded.pop(name, None)
        self._loaded[name] = held  # the last one in the order of the dictionary
        while len(self._loaded) > self._held:
            del self._loaded[next(iter(self._loaded))]
        return held[2]

    def _find(self, name: str) -> Path:
        closed = ""
        for folder in self._folders:
            path = folder / f"{name}{BUNDLE_SUFFIX}"
            try:
                if path.is_file():
                    return path
            except PermissionError as error:  # of the user's own folder: the ready avatars are there all the same
                closed += f"; {folder} cannot be read: {error.strerror}"
        known = ", ".join(self.names()) or "none yet"
        raise BadInput(f"AVATAR {name!r} is unknown, expected one of: {known}{closed}")


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
