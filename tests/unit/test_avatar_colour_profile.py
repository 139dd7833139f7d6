"""Photos in other colours than sRGB, as most phones take them: the skin must not turn paler."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from facestream.avatar.colour_profile import to_srgb
from facestream.avatar.photo import read_photo
from numpy.typing import NDArray
from PIL import ImageCms
from PIL.Image import fromarray

PORTRAIT = Path(__file__).parents[2] / "model_repository" / "avatar_store" / "avatars" / "leo.jpg"
# XYZ of red, green and blue, adapted to D50 (ICC.1:2001-04): columns.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
GAMMA = 2.2


def icc(primaries: NDArray[np.float64], space: bytes = b"RGB ") -> bytes:
    """A display's profile of primaries and GAMMA, version 2."""

    def xyz(values: NDArray[np.float64]) -> bytes:
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in values))

    curve = b"curv" + bytes(4) + struct.pack(">IH2x", 1, round(256 * GAMMA))
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78 + 1)
    tags = {b"desc": text, b"cprt": b"text" + bytes(8), b"wtpt": xyz(np.array([0.9642, 1.0, 0.8249]))}
    tags |= {name + b"XYZ": xyz(primaries[:, place]) for place, name in enumerate((b"r", b"g", b"b"))}
    tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    table, data, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">2I", at + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    white = struct.pack(">3i", 63190, 65536, 54061)
    head = struct.pack(
        ">I4sI4s4s4s12x4s4s", at + len(data), bytes(4), 0x02100000, b"mntr", space, b"XYZ ", b"acsp", b""
    )
    head = (head + bytes(24) + white).ljust(128, b"\0")
    return head + table + data


@pytest.fixture(scope="module", name="portrait")
def portrait_fixture() -> NDArray[np.uint8]:
    return read_photo(PORTRAIT)[::4, ::4]


def as_taken(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same colours as a phone writes them, in Display P3."""
    light = (picture / 255.0) ** GAMMA @ (np.linalg.inv(DISPLAY_P3) @ SRGB).T
    return np.asarray(np.round(255.0 * np.clip(light, 0.0, 1.0) ** (1.0 / GAMMA)), np.uint8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "avif"])
def test_a_phones_colours_are_read_as_they_are_meant(suffix: str, tmp_path: Path, portrait: NDArray[np.uint8]) -> None:
    """Display P3 read as sRGB: every skin paler than in any viewer."""
    taken = as_taken(portrait)
    path = tmp_path / f"phone.{suffix}"
    fromarray(taken).save(path, icc_profile=icc(DISPLAY_P3), quality=98)
    skin = (np.ptp(portrait, 2) > 40) & (portrait.min(2) > 60)
    off = np.abs(read_photo(path).astype(int) - portrait)[skin].mean()
    paler = np.abs(taken.astype(int) - portrait)[skin].mean()
    assert paler > 3.0
    assert off < 2.0


def test_photos_that_say_srgb_stay_as_they_are(tmp_path: Path, portrait: NDArray[np.uint8]) -> None:
    """A level more or less would be another avatar than that of the same photo without a word."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    fromarray(portrait).save(tmp_path / "srgb.png", icc_profile=profile)
    assert np.array_equal(read_photo(tmp_path / "srgb.png"), portrait)


@pytest.mark.parametrize(
    "profile", [b"no profile", icc(DISPLAY_P3)[:200], icc(DISPLAY_P3, b"CMYK"), icc(DISPLAY_P3, b"GRAY")]
)
def test_profiles_that_cannot_be_used_are_passed_over(profile: bytes, portrait: NDArray[np.uint8]) -> None:
    """A photo is no worse for what an editor left in it."""
    assert to_srgb(portrait, profile) is portrait
