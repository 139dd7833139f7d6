"""The encoder: every frame comes out at once and decodes to the picture that went in."""

from __future__ import annotations

import av
import numpy as np
import pytest
from facestream.sequence import SessionLost
from h264_encoder import H264Encoder
from i420 import to_i420
from nv12 import to_nv12


def picture(frame: int) -> np.ndarray:
    rows, columns = np.mgrid[0:512, 0:512]
    return np.stack([(columns + 3 * frame) % 256, rows // 2, np.full_like(rows, 90)], axis=-1).astype(np.uint8)


def test_stream_decodes_from_frame_0_on() -> None:
    """Clients drop the frames before 0: what follows must not refer to them."""
    encoder = H264Encoder()
    units = {i: encoder.encode(picture(i + 2), i) for i in range(-2, 20)}
    assert [i for i, (_, keyframe) in units.items() if keyframe] == [-2, 0]
    decoder = av.CodecContext.create("h264", "r")
    shown = []
    for i in range(20):
        shown += decoder.decode(av.Packet(units[i][0].tobytes()))
    shown += decoder.decode(None)
    assert len(shown) == 20
    for i in (0, 7, 19):
        decoded = shown[i].to_ndarray(format="rgb24", src_colorspace="ITU709").astype(int)
        smooth = np.abs(np.diff(picture(i + 2)[..., 0].astype(int), axis=1, append=0)) < 10
        assert np.abs(decoded - picture(i + 2))[smooth].mean() < 4.0


def test_stream_says_its_colours() -> None:
    """A player that is not told guesses BT.601, and the skin turns greyer."""
    encoder = H264Encoder()
    units = [encoder.encode(picture(0), i)[0].tobytes() for i in range(-2, 2)]
    decoder = av.CodecContext.create("h264", "r")
    shown = [*decoder.decode(av.Packet(units[2])), *decoder.decode(None)][0]
    assert (shown.color_range, shown.colorspace) == (1, 1)


def test_frame_out_of_order_ends_the_session() -> None:
    with pytest.raises(SessionLost, match="frame 4 arrived where frame -2 was due"):
        H264Encoder().encode(picture(0), 4)


def blocks(frame: np.random.Generator) -> np.ndarray:
    """Squares of 2 x 2 pixels in the purest colours there are."""
    return np.repeat(np.repeat(frame.integers(0, 2, (256, 256, 3)) * 255, 2, 0), 2, 1).astype(np.uint8)


@pytest.mark.parametrize(
    "frame",
    [
        picture(5),
        np.random.default_rng(1).integers(0, 256, (512, 512, 3)).astype(np.uint8),
        blocks(np.random.default_rng(2)),
        np.broadcast_to(np.arange(512, dtype=np.uint16)[:, None, None] // 2, (512, 512, 3)).astype(np.uint8),
    ],
    ids=["smooth", "noise", "pure colours", "greys"],
)
def test_the_processor_s_planes_are_the_gpu_s(frame: np.ndarray) -> None:
    """One avatar must not have another skin where the frames come from a GPU: a level is rounding."""
    planes = to_i420(frame).to_ndarray().astype(int)
    luma, blue, red = planes[:512], planes[512:640].reshape(256, 256), planes[640:].reshape(256, 256)
    expected = to_nv12(np, frame[None])[0].astype(int)
    assert np.abs(luma - expected[:512]).max() <= 1
    assert np.abs(blue - expected[512:, 0::2]).max() <= 1
    assert np.abs(red - expected[512:, 1::2]).max() <= 1
    assert abs((luma - expected[:512]).mean()) < 0.3
    if (frame == frame[..., :1]).all():
        assert (blue == 128).all(), "a grey picture is tinted"
        assert (red == 128).all(), "a grey picture is tinted"
