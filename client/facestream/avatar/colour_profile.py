"""Colours as their photo means them: a phone's Display P3 or a camera's Adobe RGB, read as sRGB, is a paler skin."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms
from PIL.Image import fromarray

Image = NDArray[np.uint8]

NO_CHANGE = 2
"""Levels. A profile that moves no colour further is one of the many that say sRGB: the photo stays as it is."""

_PROBE = np.stack(np.meshgrid(*3 * [np.linspace(0, 255, 9)], indexing="ij"), -1).astype(np.uint8).reshape(27, 27, 3)


def to_srgb(picture: Image, profile: bytes) -> Image:
    """An RGB picture [H, W, 3] in sRGB; itself where its ICC profile says sRGB, is not of RGB, or cannot be read."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB":
            return picture  # of CMYK or greys: the decoder has left it, without the profile
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture

    def shown(colours: Image) -> Image:
        return np.asarray(ImageCms.applyTransform(fromarray(colours), transform), np.uint8)

    if int(np.abs(shown(_PROBE).astype(int) - _PROBE).max()) <= NO_CHANGE:
        return picture
    return shown(picture)
