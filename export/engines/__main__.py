"""Build the networks for this machine, and assemble the model repository that serves them: `python -m export.engines`.

To be run where it will be served: in the serving container, on the target GPU. Each network is built in its precision,
run by the very server that will serve it on tensors of recorded sessions, and compared with the committed network on
the CPU; one that exceeds its tolerance (export/networks.py) is refused. Then whole sessions are held against the
pictures that the committed repository shows. Folders are named after GPU and TensorRT, so one place can hold the builds
of several machines; `python -m export.engines.check` finds this machine's again.

    python -m export.engines                                  TensorRT engines, fp16 where a stage has it
    python -m export.engines --precision renderer=fp32        one stage in single precision
    python -m export.engines --max-sessions 32                batches as large as 32 sessions ask for
    python -m export.engines --runtime onnxruntime-cuda       no TensorRT: ONNX Runtime on the GPU
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from facestream.audio import read_sound
from facestream.contract import CHUNK_SAMPLES, LOOKAHEAD_FRAMES, MAX_SESSIONS_VARIABLE
from facestream.errors import FacestreamError
from facestream.server import ServerError
from facestream.server.container import AS_COMMITTED, RUNTIME_VARIABLE, forget_empty_settings

from export.engines.assembly import Plan, make
from export.engines.build import find_builder
from export.engines.compare import RecordedSession, Served, Tensors, onnx_reference
from export.engines.precisions import choose
from export.engines.profile import BatchProfile
from export.engines.refusal import BUILD, Refusal, refused_by_system
from export.engines.repository import RUNTIMES, encoders_for, on_gpu
from export.engines.target import Target, detect
from export.engines.typed_networks import typed_networks
from export.ensembles import REPOSITORY
from export.lanes import LANES, lane_of
from export.network_files import TYPED
from export.recording import RECORDING, SEED, SPEAKERS, SPEECH, Recording, RecordingError, current_recording

ENGINES = Path("build/engines")
DEFAULT_SESSIONS = 8
DEFAULT_FRAMES = 48
RECORDED_FRAMES = 120
"""Of each session, where they are recorded anew: four seconds, most of them speech."""


def main(arguments: list[str] | None = None) -> int:
    """Build; returns 1 with the reason on standard error where that is refused."""
    options = _parser().parse_args(arguments)
    forget_empty_settings()
    options.runtime = options.runtime or os.environ.get(RUNTIME_VARIABLE) or "tensorrt"
    if options.runtime == AS_COMMITTED:
        print(f"{RUNTIME_VARIABLE}={AS_COMMITTED} serves {options.models} as it was committed: nothing is to be built")
        return 0
    try:
        if options.runtime not in RUNTIMES:
            known = ", ".join([*RUNTIMES, AS_COMMITTED])
            raise Refusal(f"{RUNTIME_VARIABLE} is {options.runtime!r}", f"name one of {known}")
        folder = _refusing(options)
    except Refusal as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing is put in place, the last build stays as it was", file=sys.stderr)
        return 130
    print(f"{folder}: finished, for {RUNTIMES[options.runtime]}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.engines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, default=REPOSITORY, help="source repository (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ENGINES, help="folder of the builds (default: %(default)s)")
    parser.add_argument("--typed", type=Path, default=TYPED, help="typed ONNX files, made where missing (%(default)s)")
    parser.add_argument(
        "--recording", type=Path, help="recorded sessions, made where missing (default: build/recording)"
    )
    parser.add_argument(
        "--runtime", choices=[*RUNTIMES, AS_COMMITTED], help=f"default: ${RUNTIME_VARIABLE} or tensorrt"
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        default=[],
        metavar="[STAGE=]P",
        help="int8, fp16 or fp32, of all stages or of one (default: fp16 on a GPU where a stage has it; fp32 for "
        "onnxruntime-tensorrt on TensorRT 10)",
    )
    parser.add_argument(
        "--max-sessions",
        type=int,
        metavar="N",
        help=f"largest batch: a frame of each session (default: ${MAX_SESSIONS_VARIABLE} or {DEFAULT_SESSIONS})",
    )
    parser.add_argument(
        "--instances", type=int, default=1, metavar="N", help="of each network, side by side (%(default)s)"
    )
    parser.add_argument(
        "--encoders",
        type=int,
        metavar="N",
        help="processes that encode video (default: one for each four sessions and four cores, at most eight)",
    )
    parser.add_argument(
        "--frames", type=int, default=DEFAULT_FRAMES, metavar="N", help="compared, of each session (%(default)s)"
    )
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="keep the log of the server that is compared, '-': print it"
    )
    return parser


def _refusing(options: argparse.Namespace) -> Path:
    """Build, and raise Refusal for all that a person can mend."""
    try:
        return _build(options)
    except (RecordingError, FacestreamError) as error:
        mend = "run this in the project's folder, on a whole clone: git status names what is missing or changed"
        raise Refusal(str(error), mend) from error
    except ServerError as error:
        raise Refusal(
            f"sessions cannot be recorded, the server does not start: {error}", "facestream doctor"
        ) from error
    except OSError as error:
        raise refused_by_system(error) from error


def _build(options: argparse.Namespace) -> Path:
    from export.engines.local_server import serve  # needs gRPC, which --help does not

    for name, least in (("instances", 1), ("frames", 1), ("encoders", 1)):
        if getattr(options, name) is not None and getattr(options, name) < least:
            raise Refusal(f"--{name} is {getattr(options, name)}", f"name {least} or more")
    if not options.models.is_dir():
        raise Refusal(f"--models {options.models} is not a folder", "name the model repository")
    profile = _profile(options.max_sessions)
    target = detect() if on_gpu(options.runtime) else None
    precisions = choose(options.precision, options.runtime, target.tensorrt if target is not None else None)
    builder = None
    if options.runtime == "tensorrt":
        assert target is not None
        fits(target)
        builder = find_builder(target.tensorrt)
    if target is not None:
        print(f"{target.gpu}, compute capability {target.capability[0]}.{target.capability[1]}, driver {target.driver}")
    typed = typed_networks(options.typed, options.models, precisions)
    recording = current_recording(options.recording or RECORDING, options.models, RECORDED_FRAMES, pictures=True)

    def inputs(stage: str) -> list[Tensors]:
        chosen = np.unique(np.linspace(0, recording.frames - 1, options.frames).astype(int))
        return [
            {name: array[chosen] for name, array in recording.frames_for(stage, avatar).items()}
            for avatar in recording.avatars
        ]

    def start(repository: Path, stages: Sequence[str]) -> AbstractContextManager[Served]:
        return serve(repository, stages, options.log)

    encoders = options.encoders or encoders_for(profile.largest, os.cpu_count() or 1)
    plan = Plan(
        options.models, options.out, options.runtime, target, profile, precisions, typed, options.instances, encoders
    )
    return make(plan, builder, start, onnx_reference, inputs, recorded_sessions(recording, options.frames), _tell)


def recorded_sessions(recording: Recording, frames: int) -> list[RecordedSession]:
    """The beginnings of the recorded sessions: what was said, and the pictures that were shown."""
    sound = read_sound(SPEECH).speech
    found = []
    for speaker in SPEAKERS:
        if speaker.avatar in recording.avatars:
            shown = min(frames, recording.frames - LOOKAHEAD_FRAMES, len(sound) // CHUNK_SAMPLES)
            pictures = recording.made_by("compositor", speaker.avatar)["FRAME"][LOOKAHEAD_FRAMES:][:shown]
            # More is said than compared: the last frames of a session see silence ahead where a longer one sees speech.
            said = sound[: (shown + LOOKAHEAD_FRAMES) * CHUNK_SAMPLES]
            found.append(RecordedSession(speaker.avatar, speaker.emotion, SEED, said, pictures))
    return found


def _tell(text: str) -> None:
    print(text, flush=True)


def _profile(max_sessions: int | None) -> BatchProfile:
    given = os.environ.get(MAX_SESSIONS_VARIABLE) if max_sessions is None else None
    try:
        return BatchProfile.of(int(given or DEFAULT_SESSIONS) if max_sessions is None else max_sessions)
    except ValueError as error:
        raise Refusal(
            f"{MAX_SESSIONS_VARIABLE} is {given!r}" if given is not None else str(error), "name 1 or more sessions"
        ) from error


def fits(target: Target) -> None:
    """Raises Refusal where the TensorRT here does not know the GPU: no single container serves all of them."""
    if target.tensorrt is None:
        return  # find_builder says what to do
    try:
        lane = lane_of(target.capability)
    except ValueError as error:
        mend = f"{BUILD} --runtime onnxruntime-cuda, if its container knows the GPU"
        raise Refusal(f"{target.gpu}: {error}", mend) from error
    here = tuple(int(number) for number in target.tensorrt.split("."))
    volta, current = LANES["v100"], LANES["gpu"]
    assert volta.tensorrt is not None
    if lane is volta and here[:2] > volta.tensorrt[:2]:
        raise Refusal(
            f"TensorRT {target.tensorrt} does not know {target.gpu}: {'.'.join(map(str, volta.tensorrt))} is the last "
            "for compute capability 7.0",
            "use the lane of its own: docker compose run --rm build-engines-v100",
        )
    if lane is current and here[:2] <= volta.tensorrt[:2] and target.capability > (9, 0):
        raise Refusal(
            f"TensorRT {target.tensorrt} is older than {target.gpu}",
            "use the current lane: docker compose run --rm build-engines",
        )


if __name__ == "__main__":
    sys.exit(main())
