"""Record what real sessions pass between their stages: `python -m export.recording`.

Comparing a network with its typed form, or with the engine that a GPU runs, proves something on the tensors that it
really gets. So a Triton server is started on the model repository with one more ensemble, generated like the others,
that puts out every tensor between the stages, and speaks with a person's real recording as its sound:

    build/recording/session.json             what was recorded, of which ONNX files, by which stages
    build/recording/AVATAR/STAGE.npz         inputs and outputs of one stage that runs a network

Each .npz holds, by name, [n, ...] for the n consecutive frames of the session; an avatar's tensors never change and are
held once, [1, ...]. Large float tensors are kept in half precision: what is compared starts from the same numbers
anyway, and the references are computed anew. `load_recording` reads it.

`--in-process` does without a server: the same stages' classes, and ONNX Runtime. In a container that brings a server of
its own this is the default, since that one would need the GPU that the recording is to be a reference for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import facestream
import numpy as np
from facestream.audio import read_sound
from facestream.avatar_name import encode_avatar_name
from facestream.contract import CHUNK_SAMPLES, RGB_ENSEMBLE
from facestream.protocol import emotion_vector
from facestream.quality import Quality
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.chain import FaceChain, Floats, SpeechChain, Tensors, chunks, load_graphs, onnx_files, session
from export.ensembles import ENSEMBLES, REPOSITORY, Ensemble, read_config, read_stages, wire
from export.network_files import digest, network_file, sha256
from export.networks import NETWORKS

RECORDING: Final = Path("build/recording")
SPEECH: Final = Path("tests/data/speech.wav")
ENSEMBLE: Final = "recording"
SEED: Final = 1
"""Correlation id of the sessions, and with it the seed of blinks and head movements."""

LARGE_BYTES: Final = 2**17
"""Float tensors of so many bytes a frame, or more, are kept in half precision."""

DTYPES: Final[Mapping[int, type[np.generic]]] = {
    DataType.TYPE_UINT8: np.uint8,
    DataType.TYPE_INT32: np.int32,
    DataType.TYPE_INT64: np.int64,
    DataType.TYPE_FP16: np.float16,
    DataType.TYPE_FP32: np.float32,
    DataType.TYPE_BOOL: np.bool_,
}
"""Triton's types of the tensors between the stages."""


class Speaker(NamedTuple):
    """One recorded session."""

    avatar: str
    emotion: Mapping[str, float]


SPEAKERS: Final = (Speaker("nia", {}), Speaker("otto", {"happy": 0.4}))


class RecordingError(ValueError):
    """A recording is missing, incomplete or of other networks; the text says how to make one."""


class Tensor(NamedTuple):
    """An input or output of a stage, as its configuration says."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Without the leading batch."""


def inputs_of(config: ModelConfig) -> list[Tensor]:
    """What a stage takes."""
    return [_tensor(tensor) for tensor in config.input]


def outputs_of(config: ModelConfig) -> list[Tensor]:
    """What a stage makes."""
    return [_tensor(tensor) for tensor in config.output]


def _tensor(tensor: Any) -> Tensor:
    return Tensor(tensor.name, np.dtype(DTYPES[tensor.data_type]), tuple(tensor.dims))


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recording:
    """Recorded sessions."""

    folder: Path
    repository: Path
    avatars: tuple[str, ...]
    frames: int
    """Of each avatar's session, the requests before the first frame among them."""
    networks: Mapping[str, str]
    """SHA-256 of the ONNX files that made it, by stage."""
    drawn_by: str
    """Checksum of all that its pictures came of, '' where the recording does not say."""

    def frames_for(self, stage: str, avatar: str | None = None, count: int | None = None) -> Tensors:
        """The inputs of a stage in `count` consecutive frames from the middle of a session (all if left out), by name.

        Args:
            stage: One that runs a network.
            avatar: Whose session; the first one if left out.
            count: How many frames; a session begins and ends in silence, so they are taken about its middle.

        Returns:
            Arrays [n, ...], named, typed and shaped as the stage's config.pbtxt says. Tensors of the avatar are
            repeated without being copied, so they are read-only.

        Raises:
            RecordingError: there is no such recording, or the stage takes other tensors today.
        """
        return self._read(stage, avatar, count, inputs_of(self._config(stage)))

    def made_by(self, stage: str, avatar: str | None = None, count: int | None = None) -> Tensors:
        """The outputs of a stage as they were recorded, large ones rounded to half precision; see frames_for."""
        return self._read(stage, avatar, count, outputs_of(self._config(stage)))

    def changed_networks(self) -> list[str]:
        """Stages whose ONNX file is another one today: their recorded outputs are the old one's."""
        return [
            stage for stage, known in self.networks.items() if sha256(network_file(self.repository, stage)) != known
        ]

    def shows_todays_pictures(self) -> bool:
        """Whether the same session would show the same pictures today: no stage, avatar or sound has changed since."""
        return self.drawn_by == picture_sources(self.repository, self.avatars)

    def _config(self, stage: str) -> ModelConfig:
        path = self.repository / stage / "config.pbtxt"
        if not path.is_file():
            raise RecordingError(f"stage is {stage!r}, which {self.repository} does not have")
        return read_config(path)

    def _read(self, stage: str, avatar: str | None, count: int | None, wanted: list[Tensor]) -> Tensors:
        who = self.avatars[0] if avatar is None else avatar
        path = self.folder / who / f"{stage}.npz"
        if not path.is_file():
            raise RecordingError(f"{path} is missing: {MEND}")
        frames = self.frames if count is None else min(count, self.frames)
        tensors: Tensors = {}
        with np.load(path) as kept:
            for tensor in wanted:
                if tensor.name not in kept.files:
                    raise RecordingError(f"{path} lacks {tensor.name}, which {stage} has today: {MEND}")
                array = kept[tensor.name]
                if array.shape[1:] != tensor.shape or array.shape[0] not in (1, self.frames):
                    raise RecordingError(
                        f"{path}: {tensor.name} is {list(array.shape)}, expected {[self.frames, *tensor.shape]}: {MEND}"
                    )
                if len(array) > 1:
                    first = (self.frames - frames) // 2
                    array = array[first : first + frames]
                array = array.astype(tensor.dtype, copy=False)
                tensors[tensor.name] = np.broadcast_to(array, (frames, *tensor.shape))
        return tensors


MEND: Final = "record anew with `python -m export.recording`"


def load_recording(folder: Path = RECORDING, repository: Path = REPOSITORY) -> Recording:
    """The recording in a folder.

    Raises:
        RecordingError: there is none, or it was not finished.
    """
    path = folder / "session.json"
    if not path.is_file():
        raise RecordingError(f"{path} is missing: {MEND}")
    about = json.loads(path.read_text())
    return Recording(
        folder, repository, tuple(about["avatars"]), about["frames"], about["networks"], about.get("drawn_by", "")
    )


def picture_sources(repository: Path, avatars: Sequence[str]) -> str:
    """Checksum of all that decides what recorded sessions show: stages, networks, avatars, sound and our programs."""
    bundles = repository / "avatar_store" / "avatars"
    stages = (path for path in repository.glob("*/**/*") if path.is_file() and bundles not in path.parents)
    programs = (*Path(facestream.__file__).parent.glob("**/*.py"), Path(__file__), Path(__file__).with_name("chain.py"))
    chosen = [path for path in (*stages, *programs) if "__pycache__" not in path.parts]
    return digest([*sorted(chosen), *(bundles / f"{avatar}.avatar" for avatar in avatars), SPEECH])


# --- recording --------------------------------------------------------------------------------------------------


def recording_ensemble(stages: Mapping[str, ModelConfig]) -> Ensemble:
    """The ensemble that puts out all that the stages of a picture make."""
    picture = next(ensemble for ensemble in ENSEMBLES if ensemble.name == RGB_ENSEMBLE)
    steps = wire(picture, dict(stages)).ensemble_scheduling.step
    outputs = tuple(tensor.name for step in steps for tensor in stages[step.model_name].output)
    return Ensemble(ENSEMBLE, "All that one frame's stages make.", outputs)


@contextlib.contextmanager
def recording_repository(repository: Path) -> Iterator[Path]:
    """A folder with all models of `repository`, linked, and the recording ensemble."""
    with tempfile.TemporaryDirectory(prefix="recording-") as name:
        folder = Path(name)
        for model in repository.iterdir():
            if model.is_dir():
                (folder / model.name).symlink_to(model.resolve())
        config = wire(recording_ensemble(read_stages(repository)), read_stages(repository))
        (folder / ENSEMBLE / "1").mkdir(parents=True)
        (folder / ENSEMBLE / "config.pbtxt").write_text(text_format.MessageToString(config))
        yield folder


def served_session(url: str, speaker: Speaker, sound: list[Floats], outputs: Sequence[str]) -> Iterator[Tensors]:
    """All tensors of every request of one session with the recording ensemble, those of the avatar only once.

    Args:
        url: host:port of the server's gRPC endpoint.
        speaker: Whose face, and what it feels.
        sound: Chunks [800], one for each request.
        outputs: Names of all that the ensemble makes.
    """
    from tritonclient import grpc

    with grpc.InferenceServerClient(url) as client:
        fixed: Tensors = {
            "AVATAR": encode_avatar_name(speaker.avatar)[None],
            "EMOTION": emotion_vector(speaker.emotion)[None],
            "QUALITY": np.array([[Quality.FAST]], np.uint8),
        }
        for number, chunk in enumerate(sound):
            inputs = []
            for name, array in {**fixed, "AUDIO": chunk[None].astype(np.float32)}.items():
                tensor = grpc.InferInput(name, array.shape, "FP32" if array.dtype == np.float32 else "UINT8")
                tensor.set_data_from_numpy(array)
                inputs.append(tensor)
            # All the rest, wanted or not: left out, some of them make Triton 2.51 speak of a deadlock.
            names = [name for name in outputs if number == 0 or not name.startswith("AVATAR_")]
            answer = client.infer(
                ENSEMBLE,
                inputs,
                outputs=[grpc.InferRequestedOutput(name) for name in names],
                sequence_id=SEED,
                sequence_start=number == 0,
                sequence_end=number == len(sound) - 1,
            )
            yield {name: np.asarray(answer.as_numpy(name)) for name in names}


def kept_dtype(tensor: Tensor) -> np.dtype[Any]:
    """The type that a tensor is kept in."""
    large = tensor.dtype == np.float32 and int(np.prod(tensor.shape)) * tensor.dtype.itemsize >= LARGE_BYTES
    return np.dtype(np.float16) if large else tensor.dtype


def write_session(frames: Iterator[Tensors], folder: Path, stages: Mapping[str, list[Tensor]], count: int) -> None:
    """Write one session of `count` requests: one .npz in `folder` for each of `stages`, which tells its tensors."""
    kept: dict[str, NDArray[Any]] = {}
    tensors = {tensor.name: tensor for group in stages.values() for tensor in group}
    for number, frame in enumerate(frames):
        for name, array in frame.items():
            if name not in tensors:
                continue
            if name not in kept:
                n = 1 if name.startswith("AVATAR_") else count
                kept[name] = np.empty((n, *tensors[name].shape), kept_dtype(tensors[name]))
            if number < len(kept[name]):
                kept[name][number] = array[0]
    folder.mkdir(parents=True)
    for stage, group in stages.items():
        np.savez(folder / f"{stage}.npz", **{t.name: kept[t.name] for t in group if t.name in kept})  # type: ignore[arg-type]


def record(
    folder: Path = RECORDING,
    repository: Path = REPOSITORY,
    frames: int | None = None,
    in_process: bool | None = None,
    speakers: tuple[Speaker, ...] = SPEAKERS,
) -> Recording:
    """Record one session for each of `speakers`; the folder is complete or stays as it was.

    Args:
        folder: Replaced.
        repository: The model repository.
        frames: Of each session; the speech begins again where it ends. Once through it if left out.
        in_process: Without a server; left out, where the machine has one of its own, as NVIDIA's containers do.
        speakers: Avatars of the repository and what they feel.

    Raises:
        RecordingError: the repository lacks a speaker's avatar, or the speech is not there.
    """
    avatars = repository / "avatar_store" / "avatars"
    for speaker in speakers:
        if not (avatars / f"{speaker.avatar}.avatar").is_file():
            have = ", ".join(sorted(path.stem for path in avatars.glob("*.avatar"))) or "none"
            raise RecordingError(f"avatar is {speaker.avatar!r}, expected one of {avatars}: {have}")
    if not SPEECH.is_file():
        raise RecordingError(f"{SPEECH} is not here: run this in the project's folder")
    if in_process is None:
        in_process = shutil.which("tritonserver") is not None
    drawn_by = picture_sources(repository, [speaker.avatar for speaker in speakers])
    sound = read_sound(SPEECH).speech
    count = frames or len(sound) // CHUNK_SAMPLES
    parts = list(chunks(sound, count))
    configs = {network.stage: read_config(repository / network.stage / "config.pbtxt") for network in NETWORKS}
    stages = {stage: [*inputs_of(config), *outputs_of(config)] for stage, config in configs.items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with contextlib.ExitStack() as stack:
            url = "" if in_process else stack.enter_context(_server(repository))
            outputs = recording_ensemble(read_stages(repository)).outputs
            for speaker in speakers:
                if in_process:
                    session_frames = _in_process(repository, speaker, parts)
                else:
                    session_frames = served_session(url, speaker, parts, outputs)
                write_session(session_frames, made / speaker.avatar, stages, len(parts))
        about = {
            "avatars": [speaker.avatar for speaker in speakers],
            "emotions": {speaker.avatar: dict(speaker.emotion) for speaker in speakers},
            "frames": len(parts),
            "speech": {"file": SPEECH.name, "sha256": sha256(SPEECH)},
            "made": "in one process by ONNX Runtime" if in_process else "by a Triton server",
            "networks": {stage: sha256(network_file(repository, stage)) for stage in configs},
            "drawn_by": drawn_by,
        }
        (made / "session.json").write_text(json.dumps(about, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        made.chmod(0o755)  # mkdtemp's are private
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return load_recording(folder, repository)


@contextlib.contextmanager
def _server(repository: Path) -> Iterator[str]:
    """host:port of a server with the recording ensemble."""
    from facestream.server import TritonServer

    with recording_repository(repository) as folder, TritonServer(folder, models=[ENSEMBLE]) as server:
        yield server.grpc_url


def _in_process(repository: Path, speaker: Speaker, sound: list[Floats]) -> Iterator[Tensors]:
    graphs = load_graphs(onnx_files(repository))
    bundle = repository / "avatar_store" / "avatars" / f"{speaker.avatar}.avatar"
    speech, face = SpeechChain(graphs, repository, SEED), FaceChain(graphs, bundle, repository)
    for tensors in session(speech, face, sound, emotion_vector(speaker.emotion)):
        yield {**face.avatar, **tensors}


def current_recording(
    folder: Path = RECORDING,
    repository: Path = REPOSITORY,
    frames: int | None = None,
    in_process: bool | None = None,
    pictures: bool = False,
) -> Recording:
    """The recording in `folder`, made anew where it is missing or the networks have changed since.

    `pictures`: its pictures are what others are held against, so that a change of any stage, avatar or sound counts.
    """
    try:
        recording = load_recording(folder, repository)
        if not recording.changed_networks() and (not pictures or recording.shows_todays_pictures()):
            return recording
        print(f"{folder} was recorded with other {'stages' if pictures else 'networks'}: recording anew", flush=True)
    except RecordingError:
        print(f"{folder} holds no whole recording: recording two sessions, which takes a minute or two", flush=True)
    return record(folder, repository, frames, in_process)


def main(arguments: list[str] | None = None) -> int:
    """Record, and tell what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RECORDING, help="folder to write (default: %(default)s)")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, help="model repository")
    parser.add_argument("--frames", type=int, metavar="N", help="of each session (default: once through the speech)")
    parser.add_argument("--in-process", action="store_true", default=None, help="without a server")
    options = parser.parse_args(arguments)
    if options.frames is not None and options.frames < 1:
        parser.error(f"--frames is {options.frames}, expected 1 or more")
    try:
        recording = record(options.out, options.repository, options.frames, options.in_process)
    except RecordingError as error:
        print(error, file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in options.out.rglob("*.npz"))
    print(f"{options.out}: {recording.frames} frames of each of {', '.join(recording.avatars)}, {size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
