"""An MP4 of a session: its frames, and the original sound at the place where they belong.

Frame i is shown from i / 30 s on and sample 0 of the sound is heard at 0 s, so the two meet by FRAME_INDEX alone. H.264
packets are written as they came from the server; pictures are encoded here.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.container.output import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from facestream.audio import SoundFile
from facestream.contract import FRAME_RATE, FRAME_SIZE, SAMPLE_RATE
from facestream.errors import BadInput, FacestreamError
from facestream.protocol import Frame

_TICKS_PER_SECOND: Final = 90_000
_TICKS: Final = _TICKS_PER_SECOND // FRAME_RATE
_ENCODERS: Final = ("libx264", "libopenh264", "mpeg4")
"""For pictures, best first; which of them exist depends on how FFmpeg was built."""
_AAC_RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_AAC_FRAME: Final = 1024


class VideoError(FacestreamError):
    """Frames that cannot be written to this file."""


def check_writable(path: Path) -> None:
    """Raise `BadInput` unless the file can be written. What is there stays as it is, and none is made."""
    existed = path.exists() or path.is_symlink()
    try:
        path.open("ab").close()
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from error
    if not existed:
        path.unlink()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """A full disk, or whatever else ends writing, as a `VideoError` with the file's name."""
    try:
        yield
    except OSError as error:
        raise VideoError(f"{path} cannot be written: {error.strerror or error}") from error


class Soundtrack(Protocol):
    """Sound that is read bit by bit while the film grows, from its first frame on."""

    @property
    def rate(self) -> int:
        """Hz: a rate that AAC knows, one of 8000, 11025, 12000, 16000, 22050, 24000, ... 96000."""

    @property
    def channels(self) -> int:
        """1 or 2."""

    def read(self, samples: int) -> NDArray[np.float32]:
        """The next float32 [n, channels], n at most `samples`; n = 0: there is no more, or not yet."""


class VideoWriter:
    """Writes the frames of one session, and the sound, to an MP4 file. A context manager.

    Args:
        path: File to write; what is there is replaced with the first frame.
        sound: Sound of the session from its first frame on; None: a silent film. It ends with the last frame.
    """

    def __init__(self, path: str | Path, sound: SoundFile | Soundtrack | None = None) -> None:
        self._path = Path(path)
        check_writable(self._path)  # FFmpeg opens it, and would tell, only at the first frame
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._video: VideoStream | None = None
        self._encodes = False
        self._sound = _FileSound(sound) if isinstance(sound, SoundFile) else sound
        self._track: _AacTrack | None = None
        self._next = 0
        self._failed = False

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, frame: Frame) -> None:
        """Append a frame of output "rgb" or "h264"; frames come in order, none may be missing."""
        if frame.index != self._next:
            raise VideoError(f"frame {frame.index} came; expected frame {self._next}")
        with writing(self._path):
            try:
                self._append(frame)
            except OSError:
                self._failed = True
                raise

    def close(self) -> None:
        """Write what is buffered and the file's index."""
        with writing(self._path), contextlib.closing(self._container):
            if self._failed:
                return  # behind a header that could not be written, FFmpeg crashes at the next packet
            if self._video is not None and self._encodes:
                self._container.mux(self._video.encode(None))
            if self._track is not None:
                self._track.close(until=self._next / FRAME_RATE)

    def _append(self, frame: Frame) -> None:
        if frame.packet is not None:
            self._write_packets([*frame.prelude, frame.packet], frame.index * _TICKS, frame.keyframe)
        elif frame.picture is not None:
            self._write_picture(frame.picture, frame.index * _TICKS)
        else:
            raise VideoError("the frame has neither a picture nor a packet")
        self._next += 1
        if self._track is not None:
            self._track.write(until=frame.time_s)

    def _write_packets(self, packets: list[bytes], at: int, keyframe: bool) -> None:
        """Write packets as they are; the last is the frame at tick `at`.

        Those before it (after a resumed session) are squeezed into the ticks just before: a player decodes them,
        because the frame refers to them, and shows each for 1/90,000 s, which is not at all.
        """
        if self._video is None:
            self._video = self._copy_of(packets[0])
            self._add_sound()
        for number, data in enumerate(packets):
            packet = av.Packet(data)
            packet.stream = self._video
            packet.time_base = Fraction(1, _TICKS_PER_SECOND)
            packet.pts = packet.dts = at - (len(packets) - 1 - number)
            packet.duration = _TICKS if number == len(packets) - 1 else 1
            packet.is_keyframe = keyframe if len(packets) == 1 else number == 0
            self._container.mux(packet)

    def _copy_of(self, packet: bytes) -> VideoStream:
        """A stream that takes packets like this one: size and parameter sets are read from the first of them."""
        try:
            with av.open(io.BytesIO(packet), format="h264") as probe:
                if not probe.streams.video[0].codec_context.extradata:
                    raise VideoError("the first packet has no SPS and PPS: this is not the beginning of the stream")
                stream = self._container.add_stream_from_template(probe.streams.video[0])
        except av.error.FFmpegError as error:
            raise VideoError(f"the first packet is no H.264 access unit: {error}") from error
        stream.time_base = Fraction(1, _TICKS_PER_SECOND)
        return stream

    def _write_picture(self, picture: NDArray[np.uint8], at: int) -> None:
        if self._video is None:
            self._video = _encoder(self._container)
            self._encodes = True
            self._add_sound()
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.time_base = Fraction(1, _TICKS_PER_SECOND)
        frame.pts = at
        self._container.mux(self._video.encode(frame))

    def _add_sound(self) -> None:
        if self._sound is not None:
            self._track = _AacTrack(self._container, self._sound)


def _encoder(container: OutputContainer) -> VideoStream:
    """A stream that encodes pictures with the best encoder that is here."""
    name = next(name for name in _ENCODERS if name in av.codecs_available)
    stream: Any = container.add_stream(name, rate=FRAME_RATE)
    stream.width = stream.height = FRAME_SIZE
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1  # limited, BT.709
    if name == "libx264":
        stream.options = {"crf": "18", "preset": "veryfast"}
    else:
        stream.bit_rate = 4_000_000
    video: VideoStream = stream
    return video


class _FileSound:
    """The original of a sound file, or its 24 kHz mono form where AAC does not know the rate or layout."""

    def __init__(self, sound: SoundFile) -> None:
        if sound.original_rate in _AAC_RATES and sound.channels <= 2:
            self.rate, self.channels = sound.original_rate, sound.channels
            self._blocks = sound.original_blocks()
        else:
            self.rate, self.channels = SAMPLE_RATE, 1
            self._blocks = (block[:, np.newaxis] for block in sound.speech_blocks())
        self._waiting = np.zeros((0, self.channels), np.float32)  # read from the file, and not from here yet

    def read(self, samples: int) -> NDArray[np.float32]:
        while len(self._waiting) < samples and (block := next(self._blocks, None)) is not None:
            self._waiting = np.concatenate([self._waiting, block])
        taken, self._waiting = self._waiting[:samples], self._waiting[samples:]
        return taken


class _AacTrack:
    """The film's sound, encoded as it is read."""

    def __init__(self, container: OutputContainer, sound: Soundtrack) -> None:
        self._sound = sound
        self._container = container
        self._layout = "stereo" if sound.channels == 2 else "mono"
        stream: Any = container.add_stream("aac", rate=sound.rate, layout=self._layout)
        self._stream: AudioStream = stream
        self._next = 0

    def write(self, until: float) -> None:
        """Write the sound up to `until` seconds, as far as it is there, so that it lies beside its frames."""
        while self._next < until * self._sound.rate and len(block := self._sound.read(_AAC_FRAME)):
            planar = np.ascontiguousarray(np.clip(block, -1.0, 1.0).T, dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout=self._layout)
            frame.sample_rate = self._sound.rate
            frame.time_base = Fraction(1, self._sound.rate)
            frame.pts = self._next
            self._container.mux(self._stream.encode(frame))
            self._next += len(block)

    def close(self, until: float) -> None:
        """Write what is left of it up to `until` seconds: where the frames broke off, so does the sound."""
        self.write(until)
        self._container.mux(self._stream.encode(None))


class Decoded(NamedTuple):
    """A film as a player shows it."""

    pictures: NDArray[np.uint8]
    """RGB [frames, height, width, 3]."""
    times: NDArray[np.float64]
    """When each is shown, seconds [frames]."""
    sound: NDArray[np.float32]
    """[samples, channels]; sample 0 is heard at 0 s."""
    sound_rate: int
    """Hz; 0 without sound."""


def decode(path: str | Path) -> Decoded:
    """Decode an MP4, for tests and measurements: timed as in a player, with edit lists and AAC's delay."""
    with av.open(str(path)) as container:
        pictures = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    rate, blocks = 0, []
    with av.open(str(path)) as container:
        if container.streams.audio:
            rate = container.streams.audio[0].codec_context.sample_rate
            blocks = list(_placed(container.decode(audio=0), rate))
    return Decoded(
        pictures=np.stack([picture for _, picture in pictures]),
        times=np.array([time for time, _ in pictures]),
        sound=np.concatenate(blocks) if blocks else np.zeros((0, 1), dtype=np.float32),
        sound_rate=rate,
    )


def _placed(frames: Any, rate: int) -> Iterator[NDArray[np.float32]]:
    """The sound from 0 s on: what lies before is cut off, a gap is filled with silence."""
    at = 0
    for frame in frames:
        block = frame.to_ndarray().T
        begin = round(frame.time * rate)
        if begin > at:
            yield np.zeros((begin - at, block.shape[1]), dtype=np.float32)
            at = begin
        yield block[at - begin :]
        at = max(at, begin + len(block))
