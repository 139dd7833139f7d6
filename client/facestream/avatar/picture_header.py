"""What a picture file says of itself before any of its pixels are decoded.

A file of a few bytes may declare a picture that fills the memory, so its size is asked for first. Pillow's readers are
called one by one: each reads the header alone, while `Image.open` has a limit of its own, below a phone's 200 million.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import DecompressionBombError, Exif
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

ORIENTATION = 0x112
"""EXIF's tag."""
BITS = 258
"""TIFF's tag of the bits of each channel."""
PLANAR, APART = 284, 2
"""TIFF's tag of how colours are kept, and what it says where one lies behind the other."""
EXTRA_SAMPLES, ALPHA = 338, (1, 2)
"""TIFF's tag of what is beside the colours, and what it says of an alpha channel: colours multiplied by it, or not."""

READERS = (JpegImageFile, PngImageFile, WebPImageFile, TiffImageFile, BmpImageFile, GifImageFile, AvifImageFile)


class PictureHeader(NamedTuple):
    """What is declared."""

    width: int
    """Before it is turned as EXIF asks."""
    height: int
    transparent: bool
    """Whether there is an alpha channel, or a colour that stands for none."""
    multiplied: bool
    """Whether OpenCV gives colours multiplied by alpha: of a TIFF that says that it has alpha libtiff makes them so."""
    orientation: int
    """How an AVIF is to be turned, as EXIF numbers it: boxes of its own tell, which OpenCV does not read. 0 for all
    other formats, which OpenCV turns by their EXIF."""
    profile: bytes
    """ICC profile of its colours; empty where there is none, which means sRGB."""


def read_header(path: Path) -> PictureHeader | None:
    """The header of a picture file; None if it is none of READERS, broken, or known to be decoded wrongly.

    Raises:
        DecompressionBombError: it declares more than Pillow itself makes room for.
    """
    for reader in READERS:
        try:
            with reader(path) as header:
                if _alpha_apart(header):
                    return None
                return PictureHeader(
                    header.width,
                    header.height,
                    header.has_transparency_data,
                    _multiplied(header),
                    _orientation(header),
                    header.info.get("icc_profile") or b"",
                )
        except DecompressionBombError:
            raise
        # SyntaxError: of another format. The others are what Pillow makes of broken headers, RuntimeError libavif's.
        except (SyntaxError, OSError, ValueError, OverflowError, RuntimeError):
            continue
    return None


def _alpha_apart(header: ImageFile) -> bool:
    """Whether it is a TIFF of 16 bits whose alpha channel lies apart from its colours: OpenCV mixes these up."""
    if not isinstance(header, TiffImageFile) or not header.has_transparency_data:
        return False
    return header.tag_v2.get(PLANAR) == APART and 16 in header.tag_v2.get(BITS, ())


def _multiplied(header: ImageFile) -> bool:
    extra = header.tag_v2.get(EXTRA_SAMPLES) if isinstance(header, TiffImageFile) else None
    return extra is not None and extra[0] in ALPHA


def _orientation(header: ImageFile) -> int:
    if not isinstance(header, AvifImageFile):
        return 0
    exif = Exif()
    exif.load(header.info.get("exif", b""))  # Pillow has put there what the boxes tell
    return int(exif.get(ORIENTATION, 1))
