"""The MP4 writer: what it writes is decoded again and held against what went in."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from facestream.audio import SoundFile
from facestream.contract import FRAME_RATE, FRAME_SIZE
from facestream.errors import BadInput
from facestream.protocol import Frame
from facestream.video import VideoError, VideoWriter, decode


def picture(index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A white bar that moves by 8 pixels with each frame."""
    image = np.full((FRAME_SIZE, FRAME_SIZE, 3), 30, dtype=np.uint8)
    image[:, 8 * index : 8 * index + 8] = 230
    return image


def bar(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> int:
    """The number of the picture by where its bar is."""
    return int(image[FRAME_SIZE // 2, :, 1].astype(float).reshape(-1, 8).mean(axis=1).argmax())


def packets(indices: range) -> list[Frame]:
    """Pictures as the server encodes them: keyframe first, no packet held back."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width = encoder.height = FRAME_SIZE
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, FRAME_RATE)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1:annexb=1"}
    frames = []
    for index in indices:
        (packet,) = encoder.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24"))
        frames.append(Frame(index, 0.0, packet=bytes(packet), keyframe=packet.is_keyframe))
    return frames


def click(path: Path, rate: int, seconds: float, at: float, channels: int = 1) -> SoundFile:
    """Silence with one short burst, to find its place again."""
    sound = np.zeros((round(rate * seconds), channels), dtype=np.float32)
    begin = round(at * rate)
    burst = np.sin(2 * np.pi * 1000 * np.arange(rate // 50) / rate)
    sound[begin : begin + len(burst)] = 0.8 * burst[:, None]
    soundfile.write(path, sound, rate)
    return SoundFile(path)


def onset(sound: np.ndarray[tuple[int, ...], np.dtype[np.float32]], rate: int) -> float:
    return float(np.argmax(np.abs(sound[:, 0]) > 0.2)) / rate


@pytest.mark.parametrize("kind", ["packets", "pictures"])
@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (44100, 2), (16000, 1)])
def test_frames_and_sound_at_their_time(tmp_path: Path, kind: str, rate: int, channels: int) -> None:
    """A film whose sound is a frame off looks dubbed: the delay of AAC must not be heard."""
    path = tmp_path / "film.mp4"
    sound = click(tmp_path / "click.wav", rate, 40 / FRAME_RATE, at=0.7, channels=channels)
    frames = packets(range(40)) if kind == "packets" else [Frame(i, 0.0, picture=picture(i)) for i in range(40)]
    with VideoWriter(path, sound) as writer:
        for frame in frames:
            writer.write(frame)
    film = decode(path)
    np.testing.assert_allclose(film.times, np.arange(40) / FRAME_RATE, atol=1e-4)
    assert [bar(image) for image in film.pictures] == list(range(40))
    assert film.sound.shape[1] == channels
    assert film.sound_rate == rate
    assert abs(len(film.sound) / rate - 40 / FRAME_RATE) <= 1024 / rate, "to one frame of AAC"
    assert abs(onset(film.sound, rate) - 0.7) < 0.003


def test_rate_that_aac_does_not_know(tmp_path: Path) -> None:
    """A recording at an odd rate must still be heard."""
    sound = click(tmp_path / "odd.wav", 37_800, 1.0, at=0.5)
    with VideoWriter(tmp_path / "film.mp4", sound) as writer:
        for frame in packets(range(30)):
            writer.write(frame)
    film = decode(tmp_path / "film.mp4")
    assert film.sound_rate == 24_000
    assert abs(onset(film.sound, 24_000) - 0.5) < 0.003


def test_replayed_packets_are_not_shown(tmp_path: Path) -> None:
    """After a resumed session the film must go on with the right picture and keep its length."""
    before, after = packets(range(20)), packets(range(10, 30))
    joint = replace(after[10], prelude=tuple(frame.packet for frame in after[:10] if frame.packet))
    with VideoWriter(tmp_path / "film.mp4") as writer:
        for frame in [*before, joint, *after[11:]]:
            writer.write(frame)
    film = decode(tmp_path / "film.mp4")
    shown = np.diff(film.times, append=1.0) > 1e-3
    assert [bar(image) for image in film.pictures[shown]] == list(range(30))
    np.testing.assert_allclose(film.times[shown][1:], np.arange(1, 30) / FRAME_RATE, atol=1e-3)


def test_missing_frame_is_an_error(tmp_path: Path) -> None:
    """A film that silently lacks a frame is out of step from there on."""
    frames = packets(range(3))
    writer = VideoWriter(tmp_path / "film.mp4")
    writer.write(frames[0])
    with pytest.raises(VideoError, match="frame 2 came; expected frame 1"):
        writer.write(frames[2])
    writer.close()


def test_stream_must_begin_with_a_keyframe(tmp_path: Path) -> None:
    """Without SPS and PPS no player opens the file: say so now and not then."""
    frame = replace(packets(range(2))[1], index=0)
    writer = VideoWriter(tmp_path / "film.mp4")
    with pytest.raises(VideoError, match="first packet"):
        writer.write(frame)
    writer.close()


def test_folder_that_does_not_exist(tmp_path: Path) -> None:
    """The name in the error is the user's."""
    with pytest.raises(BadInput, match="nowhere"):
        VideoWriter(tmp_path / "nowhere" / "film.mp4")


def test_the_servers_own_encoder(tmp_path: Path) -> None:
    """What video_encoder makes must pass into a file unchanged."""
    folder = Path(__file__).parents[2] / "model_repository" / "video_encoder" / "1"
    sys.path.insert(0, str(folder))
    try:
        from h264_encoder import H264Encoder
    finally:
        sys.path.remove(str(folder))
    encoder = H264Encoder()
    with VideoWriter(tmp_path / "film.mp4") as writer:
        for index in range(-2, 30):
            unit, keyframe = encoder.encode(picture(max(index, 0)), index)
            if index >= 0:
                writer.write(Frame(index, 0.0, packet=unit.tobytes(), keyframe=keyframe))
    film = decode(tmp_path / "film.mp4")
    assert [bar(image) for image in film.pictures] == list(range(30))


def test_a_film_that_breaks_off_ends_with_its_last_frame(tmp_path: Path) -> None:
    """An hour of sound behind a second of picture: the rest of the file was written where the session broke."""
    sound = click(tmp_path / "click.wav", 24_000, 20.0, at=0.5)

    def break_off() -> None:
        with VideoWriter(tmp_path / "film.mp4", sound) as writer:
            for frame in packets(range(30)):
                writer.write(frame)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    film = decode(tmp_path / "film.mp4")
    assert len(film.pictures) == 30
    assert abs(len(film.sound) / 24_000 - 1.0) <= 1024 / 24_000


def test_without_a_frame_what_was_there_stays(tmp_path: Path) -> None:
    """A misspelt avatar must not cost the film that was made yesterday, nor leave an empty one."""
    (tmp_path / "old.mp4").write_text("yesterday")
    (tmp_path / "link.mp4").symlink_to("elsewhere.mp4")
    for name in ("old.mp4", "new.mp4", "link.mp4"):
        VideoWriter(tmp_path / name).close()
    assert (tmp_path / "old.mp4").read_text() == "yesterday"
    assert not (tmp_path / "new.mp4").exists()
    assert (tmp_path / "link.mp4").is_symlink()


@pytest.mark.parametrize("kind", ["packets", "pictures"])
def test_a_full_disk_is_told_with_the_files_name(tmp_path: Path, kind: str) -> None:
    """A traceback of FFmpeg's says nothing to whoever renders a night long."""
    (tmp_path / "film.mp4").symlink_to("/dev/full")
    frames = packets(range(40)) if kind == "packets" else [Frame(i, 0.0, picture=picture(i)) for i in range(40)]

    def write() -> None:
        with VideoWriter(tmp_path / "film.mp4") as writer:
            for frame in frames:
                writer.write(frame)

    with pytest.raises(VideoError, match=r"film\.mp4 cannot be written: No space left on device"):
        write()
