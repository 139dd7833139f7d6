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
from PIL.Image import DecompressionBombError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

READERS = (JpegImageFile, PngImageFile, WebPImageFile, TiffImageFile, BmpImageFile, GifImageFile, AvifImageFile)


class PictureHeader(NamedTuple):
    """What is declared."""

    width: int
    """Before it is turned as EXIF asks."""
    height: int
    transparent: bool
    """Whether there is an alpha channel, or a colour that stands for none."""


def read_header(path: Path) -> PictureHeader | None:
    """The header of a picture file; None if it is none of READERS, or broken.

    Raises:
        DecompressionBombError: it declares more than Pillow itself makes room for.
    """
    for reader in READERS:
        try:
            with reader(path) as header:
                return PictureHeader(header.width, header.height, header.has_transparency_data)
        except DecompressionBombError:
            raise
        # SyntaxError: of another format. The others are what Pillow makes of broken headers.
        except (SyntaxError, OSError, ValueError, OverflowError):
            continue
    return None
