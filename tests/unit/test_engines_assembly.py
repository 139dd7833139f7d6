"""Building for a target and the guard before its server, with a GPU, its server and its builder put on.

Wrong pictures, old networks and halves of a repository must be refused here, or nobody finds them before the viewers.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.contract import CHUNK_SAMPLES
from numpy.typing import NDArray

from export.engines import check, finished, network_record
from export.engines.assembly import Plan, make
from export.engines.build import Shapes
from export.engines.compare import RecordedSession, Tensors, batches
from export.engines.profile import BatchProfile
from export.engines.refusal import Refusal
from export.engines.repository import Runtime
from export.engines.target import Target
from export.ensembles import REPOSITORY, read_config
from export.networks import NETWORKS, Precision, tolerance

A100 = Target("NVIDIA A100-SXM4-40GB", (8, 0), 40 * 2**30, 108, "580.95.05", "11.2.1")
STAGES = [network.stage for network in NETWORKS]
OUTPUTS = {
    network.stage: {
        tensor.name: tuple(tensor.dims) for tensor in read_config(REPOSITORY / network.stage / "config.pbtxt").output
    }
    for network in NETWORKS
}
Arrays = dict[str, NDArray[Any]]
Change = Callable[[str, str, NDArray[Any]], NDArray[Any] | None]


def truth(stage: str, tensors: Tensors) -> Arrays:
    """What the networks of these tests compute: small outputs that depend on their frame."""
    frame = next(iter(tensors.values())).astype(np.float32)
    dtype = np.uint8 if stage == "compositor" else np.float32
    return {name: (frame + np.arange(4)).astype(dtype) for name in OUTPUTS[stage]}


class Gpu:
    """A server with a GPU, whose networks are changed at will."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self.sizes: set[int] = set()

    def infer(self, stage: str, tensors: Tensors) -> Arrays:
        self.sizes.add(len(next(iter(tensors.values()))))
        changed = {name: self._change(stage, name, array) for name, array in truth(stage, tensors).items()}
        return {name: array for name, array in changed.items() if array is not None}

    def pictures(self, session: RecordedSession) -> Iterator[NDArray[np.uint8]]:
        for picture in [*session.pictures, *session.pictures[:2]]:
            changed = self._change("session", "FRAME", picture)
            if changed is not None:
                yield changed

    def mean_ms(self, stage: str, tensors: Tensors, repeats: int) -> float:
        return 0.5 * len(next(iter(tensors.values())))


class Builder:
    """Builds 'engines' and counts them."""

    name = "made-up TensorRT 11.2.1"

    def __init__(self) -> None:
        self.built: list[str] = []

    def build(self, onnx: Path, inputs: Shapes, profile: BatchProfile, timing_cache: Path | None) -> bytes:
        self.built.append(onnx.parts[-3])
        return b"engine of " + onnx.read_bytes()[:100] + str(profile).encode()


def right(stage: str, name: str, array: NDArray[Any]) -> NDArray[Any]:
    return array


class Workshop:
    """A model repository and the folder of its builds."""

    def __init__(self, folder: Path) -> None:
        self.models, self.engines = folder / "models", folder / "engines"
        shutil.copytree(REPOSITORY, self.models, ignore=shutil.ignore_patterns("*.avatar", "*.onnx", "__pycache__"))
        for stage in STAGES:
            (self.models / stage / "1" / "model.onnx").write_text(f"the network of {stage}")
        self.builder = Builder()
        self.said: list[str] = []
        self.gpu = Gpu(right)

    def build(
        self,
        change: Change = right,
        target: Target = A100,
        runtime: Runtime = "tensorrt",
        precision: Precision = "fp32",
        largest: int = 4,
    ) -> Path:
        self.gpu = Gpu(change)

        @contextlib.contextmanager
        def serve(repository: Path, stages: Sequence[str]) -> Iterator[Gpu]:
            assert (repository / "avatar" / "config.pbtxt").is_file()
            yield self.gpu

        class Reference:
            def __init__(self, path: Path) -> None:
                self._stage = path.parts[-3]

            def __call__(self, tensors: Tensors) -> Arrays:
                return truth(self._stage, tensors)

        plan = Plan(
            self.models,
            self.engines,
            runtime,
            target,
            BatchProfile(largest),
            {stage: precision if precision == "fp32" or stage != "compositor" else "fp32" for stage in STAGES},
            {stage: self.models / stage / "1" / "model.onnx" for stage in STAGES},
        )
        shown = np.random.default_rng(1).integers(0, 250, (4, 8, 8, 3)).astype(np.uint8)
        said = RecordedSession("nia", {}, 1, np.zeros(6 * CHUNK_SAMPLES, np.float32), shown)
        inputs: list[Tensors] = [
            {"X": np.arange(6, dtype=np.float32)[:, None]},
            {"X": np.arange(5, dtype=np.float32)[:, None] + 50},
        ]
        builder = self.builder if runtime == "tensorrt" else None
        return make(plan, builder, serve, Reference, lambda stage: inputs, [said], self.said.append)

    def check(self, target: Target = A100, runtime: Runtime = "tensorrt") -> Path:
        return check.servable(self.engines, self.models, runtime, lambda: target)

    def refuses(self, says: str, target: Target = A100, runtime: Runtime = "tensorrt") -> None:
        with pytest.raises(Refusal, match=says) as refused:
            self.check(target, runtime)
        assert "export.engines" in refused.value.remedy


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_what_was_built_is_found_and_may_be_served(workshop: Workshop) -> None:
    folder = workshop.build()
    assert folder.name == "nvidia-a100-sxm4-40gb-sm80-trt11.2.1"
    assert workshop.check() == folder / "model_repository"
    assert workshop.gpu.sizes == {1, 2, 3, 4}
    record = network_record.read(folder / "model_repository" / "renderer" / "1" / "model.plan.json")
    assert record.latency_ms == {"1": 0.5, "2": 1.0, "4": 2.0}
    assert record.parity["CANVAS_TEXTURE"].largest == 0.0
    assert record.parity["CANVAS_TEXTURE"].frames >= 11
    assert (record.target, record.tuned, record.builder) == (A100, (1, 4), Builder.name)
    assert finished.read(folder).sessions["nia"].largest == 0.0
    assert [path.name for path in workshop.engines.iterdir()] == [folder.name]


def test_folders_of_several_machines_lie_side_by_side(workshop: Workshop) -> None:
    t4 = Target("Tesla T4", (7, 5), 1, 40, "580.95.05", "11.2.1")
    assert workshop.build() != workshop.build(target=t4)
    assert workshop.build(runtime="onnxruntime-cuda").name == "nvidia-a100-sxm4-40gb-sm80-onnxruntime-cuda"
    assert workshop.check(t4).parent.name == "tesla-t4-sm75-trt11.2.1"
    assert workshop.check(runtime="onnxruntime-cuda").is_dir()


# --- tolerances -------------------------------------------------------------------------------------------------


def spoil(stage: str, how: Callable[[NDArray[Any]], NDArray[Any] | None]) -> Change:
    return lambda at, name, array: how(array) if at == stage else array


def to_nan(array: NDArray[Any]) -> NDArray[Any]:
    array[0, 0] = np.nan
    return array


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            spoil("renderer", lambda array: array + 3),
            r"renderer CANVAS_FLOW: .*the 99\.9th percentile of its errors is 3",
        ),
        (spoil("speech_encoder", to_nan), "speech_encoder EMBEDDING: it holds a value that is not finite"),
        (
            spoil("compositor", lambda array: array + np.uint8(5)),
            r"compositor FRAME: .*the PSNR of a frame falls to 34\.\d dB, the limit 60",
        ),
        (
            spoil("expression", lambda array: array[:, :3]),
            r"SPEECH_FACE: is float32 \[1, 3\], expected float32 \[1, 4\]",
        ),
        (spoil("expression", lambda array: array.astype(np.float16)), "SPEECH_FACE: is float16"),
        (spoil("refiner_high", lambda array: None), "refiner_high REFINED_TEXTURE: is not put out"),
    ],
)
def test_a_network_that_computes_something_else_is_not_put_in_place(
    workshop: Workshop, change: Change, says: str
) -> None:
    with pytest.raises(Refusal, match=says):
        workshop.build(change)
    assert not list(workshop.engines.glob("*/finished.json"))
    assert not [path for path in workshop.engines.iterdir() if path.is_dir()]


def test_half_precision_that_costs_too_much_is_refused_with_the_command_that_mends_it(workshop: Workshop) -> None:
    with pytest.raises(Refusal, match="renderer CANVAS_TEXTURE") as refused:
        workshop.build(lambda stage, name, array: array + 25.0 * (name == "CANVAS_TEXTURE"), precision="fp16")
    assert refused.value.remedy.endswith("--precision renderer=fp32")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (spoil("session", lambda picture: 255 - picture), "session with nia: .*PSNR of a frame falls to"),
        (spoil("session", lambda picture: None), "0 frames are shown, expected 6"),
    ],
)
def test_a_session_that_shows_something_else_is_not_put_in_place(workshop: Workshop, change: Change, says: str) -> None:
    """Networks that are right one by one, and a stage in Python that is wrong on the GPU."""
    with pytest.raises(Refusal, match=says):
        workshop.build(change)
    assert not list(workshop.engines.glob("*/finished.json"))


def test_an_error_in_one_number_of_a_thousand_is_found(workshop: Workshop) -> None:
    allowed = tolerance("face_geometry", "fp16", "FACE_FLOW").largest

    def one(array: NDArray[Any]) -> NDArray[Any]:
        array[-1, -1] += 1.5 * allowed
        return array

    with pytest.raises(Refusal, match=r"face_geometry FACE_FLOW: its largest error is"):
        workshop.build(spoil("face_geometry", one), precision="fp16")


def test_a_refused_build_leaves_the_last_one_in_service(workshop: Workshop) -> None:
    folder = workshop.build()
    before = (folder / "finished.json").read_bytes()
    with pytest.raises(Refusal):
        workshop.build(spoil("renderer", lambda array: array + 3))
    assert (folder / "finished.json").read_bytes() == before
    assert workshop.check() == folder / "model_repository"


def test_every_frame_is_compared_in_batches_of_all_sizes() -> None:
    found = list(batches(50, BatchProfile(8)))
    assert {len(batch) for batch in found} == set(range(1, 9))
    assert set(np.concatenate(found)) == set(range(50))
    assert max(len(batch) for batch in batches(3, BatchProfile(64))) == 64


# --- building again ---------------------------------------------------------------------------------------------


def test_engines_of_the_same_network_are_kept(workshop: Workshop) -> None:
    """After a change in Python a rebuild takes seconds, not the minutes of all engines."""
    workshop.build()
    (workshop.models / "motion" / "1" / "model.py").write_text("# changed\n")
    network = workshop.models / "renderer" / "1" / "model.onnx"
    network.write_bytes(network.read_bytes() + b"\0")
    workshop.builder.built.clear()
    workshop.build()
    assert workshop.builder.built == ["renderer"]
    assert workshop.check().is_dir()


@pytest.mark.parametrize("change", [{"largest": 8}, {"precision": "fp16"}, {"target": replace(A100, driver="590.1")}])
def test_engines_for_other_batches_precisions_or_drivers_are_built_anew(
    workshop: Workshop, change: dict[str, Any]
) -> None:
    workshop.build()
    workshop.builder.built.clear()
    workshop.build(**change)
    assert "renderer" in workshop.builder.built


def test_engines_of_an_older_builder_of_ours_are_built_anew(workshop: Workshop) -> None:
    """A mended setting of the builder would else never reach a card whose networks stay the same."""
    record = workshop.build() / "model_repository" / "renderer" / "1" / "model.plan.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "recipe": "of last month"}))
    workshop.builder.built.clear()
    workshop.build()
    assert workshop.builder.built == ["renderer"]


def test_onnxruntime_s_tensorrt_provider_meets_no_engine_of_older_weights(workshop: Workshop) -> None:
    """It knows its engines by the graph's nodes: after a training the old weights would be served."""

    def cache() -> Path:
        config = read_config(workshop.build(runtime="onnxruntime-tensorrt") / "model_repository/renderer/config.pbtxt")
        (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
        return Path(accelerator.parameters["trt_engine_cache_path"])

    first = cache()
    (first / "some.engine").write_bytes(b"of the old weights")
    assert cache() == first
    assert (first / "some.engine").is_file()
    network = workshop.models / "renderer" / "1" / "model.onnx"
    network.write_bytes(network.read_bytes() + b"\0")
    second = cache()
    assert list(second.parent.iterdir()) == [second]
    assert list(second.iterdir()) == []


def test_what_a_killed_build_left_is_cleared_away(workshop: Workshop) -> None:
    left = workshop.engines / ".nvidia-a100-sxm4-40gb-sm80-trt11.2.1-killed" / "model_repository"
    left.mkdir(parents=True)
    workshop.build()
    assert not left.exists()


def test_a_source_that_changes_meanwhile_is_noticed(workshop: Workshop) -> None:
    def change(stage: str, name: str, array: NDArray[Any]) -> NDArray[Any]:
        (workshop.models / "motion" / "1" / "model.py").write_text("# saved just now\n")
        return array

    with pytest.raises(Refusal, match="changed while this was built"):
        workshop.build(change)


# --- the guard --------------------------------------------------------------------------------------------------


def test_nothing_built_is_refused_with_what_is_there(workshop: Workshop) -> None:
    workshop.engines.mkdir()
    workshop.refuses("holds no build at all; this machine is NVIDIA A100")
    workshop.build(target=replace(A100, tensorrt="10.4.0"))
    workshop.refuses(r"has no nvidia-a100-sxm4-40gb-sm80-trt11\.2\.1: it holds .*trt10\.4\.0")


def test_a_build_that_was_broken_off_is_refused(workshop: Workshop) -> None:
    (workshop.build() / "finished.json").unlink()
    workshop.refuses("not whole: .*broken off")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "runtime": "tensorrt"}'])
def test_a_marker_that_is_none_is_refused(workshop: Workshop, text: str) -> None:
    (workshop.build() / "finished.json").write_text(text)
    workshop.refuses("not whole")


def test_a_copied_folder_is_refused_on_another_gpu(workshop: Workshop) -> None:
    """Renamed by hand, it has the right name and the wrong engines."""
    other = replace(A100, gpu="NVIDIA A100 80GB PCIe")
    workshop.build().rename(workshop.engines / finished.folder_name("tensorrt", other))
    workshop.refuses("the GPU is NVIDIA A100 80GB PCIe, the build is for NVIDIA A100-SXM4-40GB", other)


def test_a_slice_of_the_same_gpu_is_another_machine(workshop: Workshop) -> None:
    workshop.build()
    workshop.refuses("multiprocessors is 42, the build is for 108", replace(A100, processors=42))


def test_another_driver_is_no_reason_to_refuse(workshop: Workshop) -> None:
    workshop.build()
    assert workshop.check(replace(A100, driver="590.1"))


def test_a_machine_without_driver_or_tensorrt_is_refused(workshop: Workshop) -> None:
    workshop.build()
    with pytest.raises(Refusal, match="there is no TensorRT here"):
        workshop.check(replace(A100, tensorrt=None))

    def no_driver() -> Target:
        raise Refusal("there is no NVIDIA driver here", "install it")

    with pytest.raises(Refusal, match="no NVIDIA driver"):
        check.servable(workshop.engines, workshop.models, "tensorrt", no_driver)


@pytest.mark.parametrize(
    "path", ["renderer/1/model.onnx", "renderer/config.pbtxt", "motion/1/blink.py", "avatar/config.pbtxt"]
)
def test_a_source_that_changed_since_makes_a_build_stale(workshop: Workshop, path: str) -> None:
    workshop.build()
    file = workshop.models / path
    file.write_bytes(file.read_bytes() + b"\n")
    workshop.refuses(f"is stale: {path} of .* changed since the build")


def test_avatars_come_and_go(workshop: Workshop) -> None:
    workshop.build()
    (workshop.models / "avatar_store" / "avatars" / "new.avatar").write_bytes(b"a face")
    assert workshop.check()


def test_an_engine_that_is_missing_or_changed_is_refused(workshop: Workshop) -> None:
    engine = workshop.build() / "model_repository" / "compositor" / "1" / "model.plan"
    whole = engine.read_bytes()
    engine.write_bytes(whole[:-1])
    workshop.refuses("was changed after the build")
    engine.unlink()
    workshop.refuses("is missing")
    engine.write_bytes(whole)
    assert workshop.check()


def test_an_engine_of_which_nothing_is_known_is_refused(workshop: Workshop) -> None:
    record = workshop.build() / "model_repository" / "compositor" / "1" / "model.plan.json"
    text = record.read_text()
    record.unlink()
    workshop.refuses("nothing is known of")
    for broken, says in (
        ("", "is no JSON"),
        (json.dumps({**json.loads(text), "schema": 2}), "schema of .* is 2, expected 1"),
        (json.dumps({**json.loads(text), "latency_ms": 3}), "latency_ms of"),
        (json.dumps({**json.loads(text), "stage": "renderer"}), "is of another file"),
        (json.dumps({**json.loads(text), "source_sha256": "0"}), "built of another network"),
        (json.dumps({**json.loads(text), "parity": {}}), "never compared"),
    ):
        record.write_text(broken)
        workshop.refuses(says)


def test_the_command_prints_the_folder_or_the_reason(
    workshop: Workshop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container's start reads standard output, and a person the rest."""
    folder = workshop.build()
    words = [str(workshop.engines), "--models", str(workshop.models)]
    found = check.servable(workshop.engines, workshop.models, "tensorrt", lambda: A100)

    def servable(engines: Path, models: Path, runtime: Runtime) -> Path:
        return check_servable(engines, models, runtime, lambda: A100)

    check_servable = check.servable
    monkeypatch.setattr(check, "servable", servable)
    assert check.main(words) == 0
    assert capsys.readouterr() == (f"{found}\n", "")
    (folder / "finished.json").unlink()
    assert check.main(words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("refused: ")
    assert "-> " in err


def test_a_folder_that_the_container_may_not_read_is_told_with_what_mends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A clone of one's own, readable by oneself alone: the container is another user."""

    def servable(engines: Path, models: Path, runtime: Runtime) -> Path:
        raise PermissionError(13, "Permission denied", str(models / "motion" / "1" / "model.py"))

    monkeypatch.setattr(check, "servable", servable)
    assert check.main(["engines"]) == 1
    told = capsys.readouterr().err
    assert "Permission denied" in told
    assert "chmod -R a+rX" in told
