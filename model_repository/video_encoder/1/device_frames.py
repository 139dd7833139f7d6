"""Frames on the GPU for an encoder on the GPU: FFmpeg shares their memory, and nothing of them comes to the host."""

from __future__ import annotations

import av
import numpy as np
from facestream.array_namespace import Array, ArrayNamespace
from facestream.contract import FRAME_SIZE
from numpy.typing import NDArray
from nv12 import to_nv12


class DeviceFrames:
    """Hands NV12 in a GPU's memory to FFmpeg."""

    pixel_format = "cuda"

    def __init__(self, arrays: ArrayNamespace) -> None:
        """`arrays` is the GPU's.

        Raises:
            AttributeError: this PyAV cannot take frames on a GPU (it can from 18 on).
        """
        self._arrays = arrays
        # CuPy works in the device's primary context. One for all frames and sessions: to make one takes long.
        self._context = av.video.frame.CudaContext(arrays.device, True)

    def frame(self, nv12: Array) -> av.VideoFrame:
        """FFmpeg's frame of (FRAME_SIZE * 3 / 2, FRAME_SIZE) uint8 on the GPU, whose memory it keeps until it is freed.

        What computes the array must have been waited for.
        """
        half = FRAME_SIZE // 2
        chroma = self._arrays.xp.reshape(nv12[FRAME_SIZE:, :], (half, half, 2))
        made: av.VideoFrame = av.VideoFrame.from_dlpack(
            (nv12[:FRAME_SIZE, :], chroma),
            format="nv12",
            width=FRAME_SIZE,
            height=FRAME_SIZE,
            device_id=self._arrays.device,
            cuda_context=self._context,
        )
        return made

    def from_rgb(self, rgb: NDArray[np.uint8]) -> Array:
        """NV12 on the GPU of a picture (FRAME_SIZE, FRAME_SIZE, 3) in the host's memory."""
        made = to_nv12(self._arrays.xp, self._arrays.asarray(rgb[np.newaxis]))[0, ...]
        self._arrays.synchronize()
        return made

    def blank(self) -> av.VideoFrame:
        """A grey frame."""
        return self.frame(self.from_rgb(np.full((FRAME_SIZE, FRAME_SIZE, 3), 128, np.uint8)))
