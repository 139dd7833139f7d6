"""RGB to NV12 (ITU-R BT.709, limited range), on arrays of any namespace.

Encoders take luma and half-size chroma. Made on the GPU, they are half of what the RGB would be on its way to the host,
and the processor, which encodes on cards without an encoder, is spared the conversion.
"""

from __future__ import annotations

from typing import Any

from facestream.array_namespace import Array

_RED, _BLUE = 0.2126, 0.0722  # ITU-R BT.709: the shares of red and blue in luma
_GREEN = 1.0 - _RED - _BLUE


def to_nv12(xp: Any, frames: Array) -> Array:
    """NV12 of pictures.

    Args:
        xp: the namespace of the arrays.
        frames: (n, h, w, 3) uint8 RGB of even height and width.

    Returns:
        (n, h * 3 / 2, w) uint8: luma [16, 235], then rows of Cb, Cr, Cb, Cr ... [16, 240], each the mean of the 2 x 2
        pixels that share it.
    """
    number, height, width, _ = frames.shape
    rgb = xp.astype(frames, xp.float32)
    luma = _RED * rgb[..., 0] + _GREEN * rgb[..., 1] + _BLUE * rgb[..., 2]
    # The mean of the four pixels first: chroma is linear in them.
    four = xp.mean(xp.reshape(rgb, (number, height // 2, 2, width // 2, 2, 3)), axis=(2, 4))
    grey = _RED * four[..., 0] + _GREEN * four[..., 1] + _BLUE * four[..., 2]
    blue = (four[..., 2] - grey) * (112.0 / 255.0 / (1.0 - _BLUE))
    red = (four[..., 0] - grey) * (112.0 / 255.0 / (1.0 - _RED))
    chroma = xp.reshape(xp.stack([blue, red], axis=-1), (number, height // 2, width))
    # Rounded by adding a half and cutting off: all values are positive.
    planes = xp.concat([luma * (219.0 / 255.0) + 16.5, chroma + 128.5], axis=1)
    return xp.astype(planes, xp.uint8)
