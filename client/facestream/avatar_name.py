"""An avatar's name as the AVATAR tensor carries it."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from facestream.contract import AVATAR_NAME_BYTES

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RULE = f"expected letters, digits, '-' and '_' of ASCII, first a letter or digit, at most {AVATAR_NAME_BYTES}"


def check_avatar_name(name: str) -> str:
    """The name itself; ValueError where it could not be that of an avatar."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"AVATAR {name[:AVATAR_NAME_BYTES]!r} is no name: {_RULE}")
    return name


def encode_avatar_name(name: str) -> NDArray[np.uint8]:
    """AVATAR, uint8 (AVATAR_NAME_BYTES,); ValueError where the name could not be that of an avatar."""
    return np.frombuffer(check_avatar_name(name).encode().ljust(AVATAR_NAME_BYTES, b"\0"), np.uint8)


def decode_avatar_name(tensor: NDArray[np.uint8]) -> str:
    """The name in an AVATAR tensor, uint8 (AVATAR_NAME_BYTES,); ValueError where it holds none."""
    return check_avatar_name(tensor.tobytes().rstrip(b"\0").decode("utf-8", "replace"))
