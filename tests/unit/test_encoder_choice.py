"""Who encodes: the GPU where its encoder works, x264 elsewhere, and the log says why."""

from __future__ import annotations

import fractions
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pytest
from device_frames import DeviceFrames
from encoder_choice import EncoderChoice, EncoderMissing
from facestream.contract import NETWORKS_VARIABLE, VIDEO_ENCODER_VARIABLE
from facestream.sequence import SessionLost
from h264_codec import NVENC, X264
from h264_encoder import H264Encoder, create_context
from i420 import to_i420
from nv12 import to_nv12

from tests.unit.triton_stub import DeviceNamespace


@pytest.fixture(autouse=True)
def no_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VIDEO_ENCODER_VARIABLE, NETWORKS_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def picture(frame: int) -> np.ndarray:
    """(512, 512, 3) uint8, smooth, in motion."""
    rows, columns = np.mgrid[0:512, 0:512].astype(np.float32)
    wave = np.sin((columns + 5 * frame) / 40) * np.cos(rows / 31)
    return np.stack([160 + 60 * wave, 120 + 80 * np.cos(columns / 50), 90 + 70 * wave], -1).astype(np.uint8)


class Card:
    """A GPU's encoders: `room` sessions at a time. x264 does their work, with NVENC's name and habits.

    `fault` is what the driver says instead; `late` frames are held back; `keyframes` are given where asked for; `wrong`
    colours are encoded; frames on the GPU are taken with `shares`.
    """

    def __init__(
        self,
        room: int = 100,
        fault: str | None = None,
        late: int = 0,
        keyframes: bool = True,
        wrong: bool = False,
        shares: bool = True,
    ) -> None:
        self.room, self.fault, self.late, self.keyframes = room, fault, late, keyframes
        self.wrong, self.shares = wrong, shares
        self.opened: list[str] = []
        self.given: list[dict[str, str]] = []

    def create(self, name: str) -> Any:
        self.opened.append(name)
        return create_context(name) if name == X264.name else _CardContext(self)


class _CardContext:
    """Looks like PyAV's context of h264_nvenc."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._x264 = create_context(X264.name)
        self._late: list[Any] = []
        self._opened = False
        self.options: dict[str, str] = {}
        self.pix_fmt = ""

    def open(self) -> None:
        self._opened = True
        if self._card.fault:
            raise av.ExternalError(542398533, self._card.fault)
        if self._card.room == 0:
            raise av.ExternalError(542398533, "OpenEncodeSessionEx failed: out of memory (10): (no details)")
        self._card.room -= 1
        self._card.given.append(self.options)
        if self.pix_fmt == "cuda" and not self._card.shares:
            raise av.ExternalError(542398533, "hw_frames_ctx must be set when using GPU frames as input")
        self._x264.pix_fmt = "nv12"
        for name in ("width", "height", "time_base", "framerate", "colorspace", "color_range"):
            setattr(self._x264, name, getattr(self, name))
        self._x264.options = dict(X264.options)

    def encode(self, frame: Any) -> list[Any]:
        if not self._opened:
            self.open()
        if self._card.wrong:
            pts, kind = frame.pts, frame.pict_type
            frame = av.VideoFrame.from_ndarray(255 - frame.to_ndarray(format="nv12"), format="nv12")
            frame.pts, frame.pict_type = pts, kind
        if not self._card.keyframes:
            frame.pict_type = av.video.frame.PictureType.NONE
        self._late += self._x264.encode(frame)
        ready, self._late = (
            (self._late[: len(self._late) - self._card.late], self._late[-self._card.late :])
            if self._card.late
            else (self._late, [])
        )
        return ready


def choice(card: Card, gpus: bool = True, **settings: Any) -> tuple[EncoderChoice, list[str]]:
    log: list[str] = []
    return EncoderChoice(log.append, create=card.create, gpus=lambda: gpus, **settings), log


def stream(encoder: H264Encoder, frames: int = 8) -> list[tuple[bytes, bool]]:
    units = [encoder.encode(picture(index), index - 2) for index in range(frames)]
    return [(unit.tobytes(), keyframe) for unit, keyframe in units]


def test_card_with_an_encoder_encodes() -> None:
    card = Card()
    chosen, log = choice(card)
    assert chosen.codec is NVENC
    assert log == ["H.264 is encoded by h264_nvenc: this GPU has an encoder"]
    units = stream(chosen.encoder(7))
    assert [number for number, (_, keyframe) in enumerate(units) if keyframe] == [0, 2]
    assert all(options == dict(NVENC.options) for options in card.given)


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (Card(fault="No capable devices found"), "No capable devices found"),
        (Card(fault="Cannot load libnvidia-encode.so.1"), "Cannot load libnvidia-encode"),
        (Card(late=1), "the encoder gave 0 packets for frame -2, expected 1"),
        (Card(keyframes=False), r"its keyframes are the frames \[-2\], expected \[-2, 0\]"),
        (Card(wrong=True), r"what decodes is another picture, \d+\.\d levels off, expected 4 at most"),
    ],
    ids=["A100", "container without video", "holds frames back", "no keyframe on demand", "wrong colours"],
)
def test_card_whose_encoder_does_not_serve_leaves_it_to_the_processor(
    card: Card, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who watches a stream must not pay for a card's habits by latency, or by a black picture at the start."""
    chosen, (line,) = choice(card)
    assert chosen.codec is X264
    assert line.startswith("H.264 is encoded by libx264: h264_nvenc does not work here (")
    monkeypatch.setenv(VIDEO_ENCODER_VARIABLE, "nvenc")
    with pytest.raises(EncoderMissing, match=f"{reason}.*A100, H100 and H200.*DRIVER_CAPABILITIES.*=auto takes"):
        choice(card)


@pytest.mark.parametrize(
    ("variables", "gpus", "reason"),
    [
        ({}, False, "this machine has no NVIDIA GPU"),
        ({VIDEO_ENCODER_VARIABLE: ""}, False, "this machine has no NVIDIA GPU"),
        ({NETWORKS_VARIABLE: "cpu"}, True, "this server works on the processor alone"),
        ({VIDEO_ENCODER_VARIABLE: "x264"}, True, "FACESTREAM_VIDEO_ENCODER asks for it"),
    ],
)
def test_no_card_is_tried_where_none_is_to_serve(
    variables: dict[str, str], gpus: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    card = Card()
    chosen, log = choice(card, gpus)
    assert log == [f"H.264 is encoded by libx264: {reason}"]
    assert chosen.codec is X264
    assert not card.opened


def test_unknown_wish_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VIDEO_ENCODER_VARIABLE, "gpu")
    with pytest.raises(EncoderMissing, match="FACESTREAM_VIDEO_ENCODER is 'gpu'; expected one of auto, x264, nvenc"):
        choice(Card())


def test_session_beyond_the_cards_limit_goes_to_the_processor_alone() -> None:
    """Cards for consumers encode for a few sessions at a time. The next user gets a picture all the same."""
    card = Card(room=3)  # the trial takes one of them
    chosen, log = choice(card)
    encoders = [chosen.encoder(session) for session in (1, 2, 3)]
    assert [encoder.codec for encoder in encoders] == [NVENC, NVENC, X264]
    assert len(log) == 2
    assert log[1].startswith("session 3 is encoded by libx264: h264_nvenc takes no further session (")
    assert "out of memory" in log[1]
    assert [keyframe for _, keyframe in stream(encoders[2])][:4] == [True, False, True, False]


def on_gpu(card: Card) -> tuple[EncoderChoice, list[str]]:
    """The choice of a stage whose frames lie on a GPU; NumPy's arrays stand for the GPU's."""
    return choice(card, pixel_format="nv12", device_frames=lambda: DeviceFrames(DeviceNamespace(np)))


def test_frames_stay_on_a_gpu_that_encodes_them() -> None:
    """Otherwise each would be brought to the host, and back to the encoder on the card it came from."""
    chosen, log = on_gpu(Card())
    assert log == ["H.264 is encoded by h264_nvenc: this GPU has an encoder; frames stay on the GPU"]
    encoder = chosen.encoder(1)
    decoder = av.CodecContext.create("h264", "r")
    frames: list[Any] = []
    keyframes: list[bool] = []
    for index in range(8):
        unit, keyframe = encoder.encode(to_nv12(np, picture(index)[None])[0], index - 2)
        keyframes.append(keyframe)
        frames += decoder.decode(av.Packet(unit.tobytes()))
    frames += decoder.decode(None)
    assert keyframes == [True, False, True] + 5 * [False], "the frame that opened the encoder is not among them"
    shown = frames[-1].to_ndarray(format="rgb24", src_colorspace="ITU709").astype(float)
    assert len(frames) == 8
    assert np.abs(shown - picture(7)).mean() < 3.0


def test_gpu_encoder_that_cannot_share_frames_gets_them_from_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older PyAV, or one that fails at it: the card encodes all the same."""
    chosen, (line,) = on_gpu(Card(shares=False))
    assert "frames come to it by way of the host, as it cannot take them on the GPU (" in line
    assert "hw_frames_ctx must be set" in line
    encoder = chosen.encoder(1)
    assert encoder.codec is NVENC
    assert encoder.device_frames is None
    monkeypatch.delattr(av.video.frame, "CudaContext", raising=False)
    chosen, (line,) = on_gpu(Card())
    assert "by way of the host" in line
    assert chosen.encoder(1).codec is NVENC


def test_session_beyond_the_limit_is_told_before_it_begins_with_frames_on_the_gpu_too() -> None:
    chosen, log = on_gpu(Card(room=3))  # each of the two trials takes one
    one, other = chosen.encoder(1), chosen.encoder(2)
    assert (one.codec, other.codec) == (NVENC, X264)
    assert other.device_frames is None
    assert log[1].startswith("session 2 is encoded by libx264: h264_nvenc takes no further session (")


def test_encoder_that_fails_ends_its_session_in_words() -> None:
    """The client begins anew by itself, and the new session asks for an encoder again."""
    encoder = EncoderChoice(lambda line: None, create=(card := Card()).create, gpus=lambda: True).encoder(1)
    encoder.encode(picture(0), -2)

    def fail(self: Any, frame: Any) -> Any:
        raise av.ExternalError(542398533, "EncodePicture failed: device lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_CardContext, "encode", fail)
        with pytest.raises(SessionLost, match=r"the encoder failed at frame -1: .*device lost.*; begin anew"):
            encoder.encode(picture(1), -1)
    assert card.opened == [NVENC.name] * 2


def test_processors_stream_is_the_one_that_it_always_was() -> None:
    """Every bit that a server without a GPU sends, against the encoder's settings written down once more."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width = codec.height = 512
    codec.pix_fmt = "yuv420p"
    codec.time_base, codec.framerate = fractions.Fraction(1, 30), fractions.Fraction(30)
    codec.thread_count = 1
    codec.color_range = codec.colorspace = codec.color_primaries = codec.color_trc = 1
    codec.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "crf": "21",
        "g": "60",
        "x264-params": "repeat-headers=1:annexb=1:scenecut=0",
    }
    expected = []
    for index in range(8):
        frame = to_i420(picture(index))
        frame.pts = index
        if index == 2:
            frame.pict_type = av.video.frame.PictureType.I
        expected += [bytes(packet) for packet in codec.encode(frame)]
    chosen, _ = choice(Card(), gpus=False)
    assert [unit for unit, _ in stream(chosen.encoder(1))] == expected


def error_of(options: dict[str, str]) -> str:
    """What FFmpeg says of these options of h264_nvenc; it reads them before it looks for a driver."""
    codec = create_context(NVENC.name)
    codec.width = codec.height = 512
    codec.pix_fmt = "nv12"
    codec.time_base = fractions.Fraction(1, 30)
    codec.options = options
    try:
        codec.open()
    except (av.FFmpegError, ValueError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_this_ffmpeg_knows_each_of_nvencs_options() -> None:
    """A name or a value that it does not know is left out in silence, or fails on the first machine with a GPU."""
    assert "ArgumentError" not in error_of(dict(NVENC.options))
    for name in NVENC.options:
        assert "ArgumentError" in error_of({name: "no such value"}), f"{name} is no option of {NVENC.name}"
    assert "ArgumentError" not in error_of({"no such option": "no such value"})


def fields(array: np.ndarray) -> list[np.ndarray]:
    """Luma, Cb and Cr of a picture as FFmpeg makes them on a processor."""
    frame = av.VideoFrame.from_ndarray(array, format="rgb24")
    frame = frame.reformat(format="nv12", dst_colorspace="ITU709", dst_color_range="MPEG")
    planes = frame.to_ndarray(format="nv12").astype(int)
    return [planes[:512], planes[512:, 0::2], planes[512:, 1::2]]


def test_colours_are_those_of_a_processor() -> None:
    """Skin must not change its tone where a server moves to a GPU."""
    frames = np.stack([picture(0), picture(9)])
    made = to_nv12(np, frames)
    assert (made.shape, made.dtype) == ((2, 768, 512), np.uint8)
    for one, frame in zip(made.astype(int), frames, strict=True):
        for ours, theirs in zip([one[:512], one[512:, 0::2], one[512:, 1::2]], fields(frame), strict=True):
            assert np.abs(ours - theirs).max() <= 1
            assert abs((ours - theirs).mean()) < 0.05


@pytest.mark.parametrize("rgb", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (0, 255, 0)])
def test_extremes_keep_to_the_limited_range(rgb: tuple[int, int, int]) -> None:
    made = to_nv12(np, np.full((1, 4, 4, 3), rgb, np.uint8))[0]
    red, green, blue = (value / 255 for value in rgb)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    assert made[0, 0] == round(16 + 219 * luma)
    assert made[4, 0] == round(128 + 224 * (blue - luma) / 1.8556)
    assert made[4, 1] == round(128 + 224 * (red - luma) / 1.5748)


def test_stream_made_from_the_gpus_colours_is_as_true_as_a_processors() -> None:
    """x264 takes either. What decodes must be no further from the frame that went in."""
    error: dict[str, float] = {}
    sources: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "yuv420p": lambda frame: frame,
        "nv12": lambda frame: to_nv12(np, frame[None])[0],
    }
    for pixel_format, source in sources.items():
        encoder = H264Encoder(X264, "nv12" if pixel_format == "nv12" else "yuv420p")
        decoder = av.CodecContext.create("h264", "r")
        frames: list[Any] = []
        for index in range(6):
            unit, _ = encoder.encode(source(picture(index)), index - 2)
            frames += decoder.decode(av.Packet(unit.tobytes()))
        frames += decoder.decode(None)
        shown = frames[-1].to_ndarray(format="rgb24", src_colorspace="ITU709").astype(float)
        error[pixel_format] = float(np.abs(shown - picture(5)).mean())
    assert error["nv12"] < error["yuv420p"] + 0.1 < 3.0, error
