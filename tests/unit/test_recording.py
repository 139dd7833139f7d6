"""Recorded sessions: a comparison on tensors of another stage, frame or network proves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from export import recording as recording_module
from export.chain import Tensors, chunks
from export.ensembles import REPOSITORY, read_stages, wire
from export.network_files import network_file, sha256
from export.recording import (
    Recording,
    RecordingError,
    Speaker,
    Tensor,
    current_recording,
    inputs_of,
    load_recording,
    outputs_of,
    picture_sources,
    record,
    recording_ensemble,
    write_session,
)

FRAMES = 6
CONFIG = """name: "draw" max_batch_size: 8
input { name: "MOVE" data_type: TYPE_FP32 dims: 2 }
input { name: "AVATAR_PHOTO" data_type: TYPE_UINT8 dims: [ 3, 4 ] }
output { name: "PICTURE" data_type: TYPE_FP32 dims: [ 2, 16384 ] }
"""


def write(folder: Path, repository: Path, frames: int = FRAMES) -> Recording:
    """A recording of one stage, whose frame n moves by n."""
    (repository / "draw" / "1").mkdir(parents=True, exist_ok=True)
    (repository / "draw" / "config.pbtxt").write_text(CONFIG)
    network_file(repository, "draw").write_bytes(b"network")
    stages = {
        "draw": [
            Tensor("MOVE", np.dtype(np.float32), (2,)),
            Tensor("AVATAR_PHOTO", np.dtype(np.uint8), (3, 4)),
            Tensor("PICTURE", np.dtype(np.float32), (2, 16384)),
        ]
    }

    def session() -> Iterator[Tensors]:
        for n in range(frames):
            tensors: Tensors = {
                "MOVE": np.full((1, 2), n, np.float32),
                "PICTURE": np.full((1, 2, 16384), n + 1 / 3, np.float32),
                "UNASKED": np.zeros((1, 1)),
            }
            if n == 0:
                tensors["AVATAR_PHOTO"] = np.full((1, 3, 4), 7, np.uint8)
            yield tensors

    write_session(session(), folder / "ada", stages, frames)
    avatars = repository / "avatar_store" / "avatars"
    avatars.mkdir(parents=True, exist_ok=True)
    (avatars / "ada.avatar").write_bytes(b"a face")
    about = {
        "avatars": ["ada"],
        "frames": frames,
        "networks": {"draw": sha256(network_file(repository, "draw"))},
        "drawn_by": picture_sources(repository, ["ada"]),
    }
    (folder / "session.json").write_text(json.dumps(about))
    return load_recording(folder, repository)


def test_frames_are_told_by_the_stages_configuration(tmp_path: Path) -> None:
    recording = write(tmp_path / "recording", tmp_path / "repository")
    tensors = recording.frames_for("draw")
    assert {name: (array.dtype.name, array.shape) for name, array in tensors.items()} == {
        "MOVE": ("float32", (FRAMES, 2)),
        "AVATAR_PHOTO": ("uint8", (FRAMES, 3, 4)),  # held once, given for each frame
    }
    assert tensors["MOVE"][:, 0].tolist() == list(range(FRAMES))
    assert (tensors["AVATAR_PHOTO"] == 7).all()
    made = recording.made_by("draw")["PICTURE"]
    assert made.dtype == np.float32  # kept in half precision, being large
    np.testing.assert_allclose(made[:, 0, 0], np.arange(FRAMES) + 1 / 3, rtol=1e-3)


def test_few_frames_come_from_the_middle_in_their_order(tmp_path: Path) -> None:
    """A session begins and ends in silence, where all networks agree."""
    recording = write(tmp_path / "recording", tmp_path / "repository")
    assert recording.frames_for("draw", count=2)["MOVE"][:, 0].tolist() == [2.0, 3.0]
    assert len(recording.frames_for("draw", count=99)["MOVE"]) == FRAMES


def test_a_network_trained_anew_is_noticed(tmp_path: Path) -> None:
    recording = write(tmp_path / "recording", tmp_path / "repository")
    assert recording.changed_networks() == []
    network_file(tmp_path / "repository", "draw").write_bytes(b"trained anew")
    assert recording.changed_networks() == ["draw"]


@pytest.mark.parametrize("path", ["motion/1/blink.py", "avatar_store/avatars/ada.avatar"])
def test_pictures_of_an_older_stage_or_avatar_are_drawn_anew(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept beside the engines, they would have every build refused after an update of a stage: its pictures differ."""
    anew: list[Path] = []

    def draw(folder: Path, repository: Path, *words: object) -> Recording:
        anew.append(folder)
        return load_recording(folder, repository)

    monkeypatch.setattr(recording_module, "record", draw)
    folder, repository = tmp_path / "recording", tmp_path / "repository"
    write(folder, repository)
    (repository / "avatar_store" / "avatars" / "guest.avatar").write_bytes(b"a user's own")
    current_recording(folder, repository, pictures=True)
    assert anew == []
    changed = repository / path
    changed.parent.mkdir(parents=True, exist_ok=True)
    changed.write_bytes(b"changed")
    current_recording(folder, repository)  # whoever compares networks needs their inputs alone
    assert anew == []
    current_recording(folder, repository, pictures=True)
    assert anew == [folder]


def test_what_is_missing_is_told_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(
        RecordingError, match=r"session\.json is missing: record anew with `python -m export\.recording`"
    ):
        load_recording(tmp_path / "recording", tmp_path)
    recording = write(tmp_path / "recording", tmp_path / "repository")
    with pytest.raises(RecordingError, match=r"bob/draw\.npz is missing"):
        recording.frames_for("draw", "bob")
    with pytest.raises(RecordingError, match="stage is 'paint', which"):
        recording.frames_for("paint")
    config = tmp_path / "repository" / "draw" / "config.pbtxt"
    config.write_text(CONFIG.replace("dims: 2 }", "dims: 3 }"))
    with pytest.raises(RecordingError, match=r"MOVE is \[6, 2\], expected \[6, 3\]"):
        recording.frames_for("draw")
    config.write_text(CONFIG.replace('"MOVE"', '"TURN"'))
    with pytest.raises(RecordingError, match=r"draw\.npz lacks TURN"):
        recording.frames_for("draw")


def test_an_avatar_that_the_repository_lacks_is_told_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"avatar is 'nobody', expected one of .*avatars: ada, ben"):
        record(tmp_path / "recording", speakers=(Speaker("nobody", {}),))
    assert not (tmp_path / "recording").exists()


def test_the_ensemble_puts_out_all_that_networks_take_and_make() -> None:
    stages = read_stages(REPOSITORY)
    ensemble = recording_ensemble(stages)
    config = wire(ensemble, stages)
    out = {tensor.name for tensor in config.output}
    for step in config.ensemble_scheduling.step:
        stage = stages[step.model_name]
        if stage.backend == "onnxruntime":
            assert {tensor.name for tensor in (*inputs_of(stage), *outputs_of(stage))} <= out


def test_speech_begins_again_and_ends_in_silence() -> None:
    sound = np.arange(1, 2 * 800 + 51, dtype=np.float32)
    first = [chunk[0] for chunk in chunks(sound, 3)]
    assert first == [1.0, 801.0, 1.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="the sound has 799 samples, expected 800 or more"):
        list(chunks(sound[:799], 1))
