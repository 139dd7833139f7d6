"""Assembled repositories against the committed one: a stage whose tensors differ breaks every session of a GPU server,
and no test machine has one to find that out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from export.engines.precisions import choose
from export.engines.profile import BatchProfile
from export.engines.refusal import Refusal
from export.engines.repository import (
    CPU_ONLY,
    ENCODER,
    RUNTIMES,
    NetworkFile,
    Runtime,
    assemble,
    encoders_for,
    network_config,
)
from export.ensembles import REPOSITORY, read_config
from export.networks import NETWORKS

STAGES = [network.stage for network in NETWORKS]
PROFILE = BatchProfile(16)
COMMITTED = {path.parent.name: read_config(path) for path in sorted(REPOSITORY.glob("*/config.pbtxt"))}


@pytest.fixture(scope="module", params=list(RUNTIMES))
def assembled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Runtime, Path, dict[str, ModelConfig]]:
    runtime: Runtime = request.param
    folder = tmp_path_factory.mktemp("assembled")
    engine = folder / "engine"
    engine.write_bytes(b"an engine")
    tuned = PROFILE.tuned if runtime == "tensorrt" else ()
    files = {stage: NetworkFile(engine, tuned) for stage in STAGES}
    assemble(REPOSITORY, folder / "m", runtime, files, PROFILE, 2, 3, Path("/c"))
    return (
        runtime,
        folder / "m",
        {path.parent.name: read_config(path) for path in (folder / "m").glob("*/config.pbtxt")},
    )


def test_every_model_is_there_and_its_tensors_are_the_committed_ones(
    assembled: tuple[Runtime, Path, dict[str, ModelConfig]],
) -> None:
    _, folder, configs = assembled
    assert configs.keys() == COMMITTED.keys()
    assert {path.name for path in folder.iterdir()} == set(COMMITTED)
    for name, config in configs.items():
        committed = COMMITTED[name]
        assert (config.name, list(config.input), list(config.output)) == (
            committed.name,
            list(committed.input),
            list(committed.output),
        )
        assert config.ensemble_scheduling == committed.ensemble_scheduling
        assert config.sequence_batching == committed.sequence_batching
        # With two instances of each, requests that wait are batched in their order, whatever the device.
        assert config.HasField("dynamic_batching") == (name in STAGES)
        assert config.dynamic_batching.preserve_ordering == config.HasField("dynamic_batching")
        assert config.dynamic_batching.max_queue_delay_microseconds == 0


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_single_network_on_a_processor_needs_no_batcher(tmp_path: Path, runtime: Runtime) -> None:
    """It costs each frame a thread's waking there; on a GPU a full house would come one by one without it."""
    committed, file = COMMITTED["renderer"], NetworkFile(tmp_path / "model.onnx")
    config = network_config(committed, runtime, PROFILE, 1, file, Path("/c"))
    assert config.HasField("dynamic_batching") == (runtime != "onnxruntime-cpu")


def test_a_full_house_is_one_batch_of_every_stage(assembled: tuple[Runtime, Path, dict[str, ModelConfig]]) -> None:
    _, _, configs = assembled
    for name, config in configs.items():
        grows = name in STAGES or COMMITTED[name].HasField("sequence_batching")
        assert config.max_batch_size == (PROFILE.largest if grows else COMMITTED[name].max_batch_size), name


def test_stages_in_python_and_ensembles_are_copied_whole(
    assembled: tuple[Runtime, Path, dict[str, ModelConfig]],
) -> None:
    _, folder, configs = assembled
    for name in COMMITTED.keys() - set(STAGES):
        config, committed = ModelConfig(), COMMITTED[name]
        config.CopyFrom(configs[name])
        config.max_batch_size = committed.max_batch_size
        if name == ENCODER:
            assert [group.count for group in config.instance_group] == [3]
            config.instance_group[0].count = committed.instance_group[0].count
        assert config == committed
        for path in (REPOSITORY / name).rglob("*.py"):
            assert (folder / name / path.relative_to(REPOSITORY / name)).read_bytes() == path.read_bytes()


def test_encoders_grow_with_sessions_as_far_as_the_host_s_cores_go() -> None:
    """One process encodes six sessions in time: a GPU would wait for it. Too many would take all cores."""
    assert [encoders_for(sessions, 64) for sessions in (1, 4, 5, 16, 64)] == [1, 1, 2, 4, 8]
    assert [encoders_for(64, cores) for cores in (1, 4, 8, 12, 24)] == [1, 1, 2, 3, 6]


def test_networks_run_where_they_should(assembled: tuple[Runtime, Path, dict[str, ModelConfig]]) -> None:
    """KIND_GPU: where the driver is missing, Triton refuses to load instead of being slow in silence."""
    runtime, folder, configs = assembled
    kind = ModelInstanceGroup.KIND_CPU if runtime == "onnxruntime-cpu" else ModelInstanceGroup.KIND_GPU
    for stage in STAGES:
        (group,) = configs[stage].instance_group
        assert (group.kind, group.count) == (kind, 2)
        assert configs[stage].backend == ("tensorrt" if runtime == "tensorrt" else "onnxruntime")
        file = "model.plan" if runtime == "tensorrt" else "model.onnx"
        assert configs[stage].default_model_filename == file
        assert (folder / stage / "1" / file).read_bytes() == b"an engine"
        assert sorted(path.name for path in (folder / stage / "1").iterdir()) == [file]
        if runtime != "onnxruntime-cpu":
            assert not set(CPU_ONLY) & set(configs[stage].parameters)
        assert configs[stage].parameters["called_by"] == COMMITTED[stage].parameters["called_by"]


def test_cuda_graphs_serve_every_batch_and_no_lower_bound_is_left_without_shapes(
    assembled: tuple[Runtime, Path, dict[str, ModelConfig]],
) -> None:
    """Triton's backend takes the shapes of a graph's upper bound for its lower one, too, unless they are given."""
    runtime, _, configs = assembled
    for stage in STAGES:
        cuda = configs[stage].optimization.cuda
        assert cuda.graphs == (runtime == "tensorrt")
        if runtime != "tensorrt":
            continue
        assert list(configs[stage].instance_group[0].profile) == ["0", "1"]
        shapes = {tensor.name: list(tensor.dims) for tensor in configs[stage].input}
        served: list[int] = []
        for spec in cuda.graph_spec:
            assert {name: list(shape.dim) for name, shape in spec.input.items()} == shapes
            least = spec.batch_size
            if spec.HasField("graph_lower_bound"):
                assert {n: list(shape.dim) for n, shape in spec.graph_lower_bound.input.items()} == shapes
                least = spec.graph_lower_bound.batch_size
            served += range(least, spec.batch_size + 1)
        assert served == list(range(1, PROFILE.largest + 1))


def test_onnxruntime_s_tensorrt_provider_builds_once_and_computes_in_the_types_of_the_onnx(
    assembled: tuple[Runtime, Path, dict[str, ModelConfig]],
) -> None:
    runtime, _, configs = assembled
    for stage in STAGES:
        found = configs[stage].optimization.execution_accelerators.gpu_execution_accelerator
        if runtime != "onnxruntime-tensorrt":
            assert not found
            continue
        (accelerator,) = found
        options = dict(accelerator.parameters)
        assert accelerator.name == "tensorrt"
        assert options["trt_engine_cache_path"] == f"/c/{stage}/{hashlib.sha256(b'an engine').hexdigest()[:16]}"
        assert "precision_mode" not in options
        first = configs[stage].input[0]
        dims = "x".join(map(str, first.dims))
        assert options["trt_profile_min_shapes"].split(",")[0] == f"{first.name}:1x{dims}"
        assert options["trt_profile_max_shapes"].split(",")[0] == f"{first.name}:{PROFILE.largest}x{dims}"


def test_networks_are_warm_before_the_first_session(
    assembled: tuple[Runtime, Path, dict[str, ModelConfig]],
) -> None:
    _, _, configs = assembled
    for stage in STAGES:
        assert {1, PROFILE.largest} <= {warmup.batch_size for warmup in configs[stage].model_warmup}
        for warmup in configs[stage].model_warmup:
            given = {name: (tensor.data_type, list(tensor.dims)) for name, tensor in warmup.inputs.items()}
            assert given == {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in configs[stage].input}


def test_a_network_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected compositor"):
        assemble(REPOSITORY, tmp_path / "m", "onnxruntime-cpu", {}, PROFILE)
    assert not (tmp_path / "m").exists()


# --- which precision --------------------------------------------------------------------------------------------


def test_onnxruntime_s_tensorrt_provider_is_asked_for_half_precision_only_where_it_goes_by_the_onnx() -> None:
    """With TensorRT 10 it would refuse the ONNX, and the V100's lane could not be built by this runtime at all."""
    assert set(choose([], "onnxruntime-tensorrt", "10.4.0").values()) == {"fp32"}
    assert choose([], "onnxruntime-tensorrt", "11.2.1") == choose([], "tensorrt", "10.4.0")
    assert choose(["fp32"], "onnxruntime-tensorrt", "10.4.0")["renderer"] == "fp32"
    with pytest.raises(Refusal, match=r"--precision is 'renderer=fp16': with TensorRT 10\.4\.0"):
        choose(["renderer=fp16"], "onnxruntime-tensorrt", "10.4.0")


def test_half_precision_is_the_gpu_s_choice_where_a_stage_has_it() -> None:
    chosen = choose([], "tensorrt")
    assert chosen["renderer"] == "fp16"
    assert chosen["compositor"] == "fp32"
    assert set(choose([], "onnxruntime-cpu").values()) == {"fp32"}


def test_a_stage_without_int8_is_built_in_the_next_that_it_has() -> None:
    chosen = choose(["int8"], "tensorrt")
    for network in NETWORKS:
        has = network.precisions
        assert chosen[network.stage] == next(precision for precision in ("int8", "fp16", "fp32") if precision in has)


def test_one_stage_can_differ_from_all() -> None:
    chosen = choose(["fp16", "renderer=fp32"], "tensorrt")
    assert (chosen["renderer"], chosen["expression"]) == ("fp32", "fp16")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fp8"], "'fp8', expected fp32"),
        (["nose=fp32"], "names 'nose'"),
        (["compositor=fp16"], "compositor can be had in fp32"),
    ],
)
def test_a_precision_that_is_not_there_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        choose(words, "tensorrt")
