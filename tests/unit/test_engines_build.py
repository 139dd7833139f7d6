"""Building engines: by TensorRT-RTX for GPUs that are not here, through the very code that runs on a target."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from export.engines import build
from export.engines.build import ModuleBuilder, TrtexecBuilder, find_builder
from export.engines.profile import BatchProfile
from export.engines.refusal import Refusal
from export.engines.repository import input_shapes
from export.ensembles import REPOSITORY, read_config

# TensorRT-RTX still has the calls of timing caches, but they do nothing any more.
pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops")

PROFILE = BatchProfile(4)
SHAPES = {"X": (3,)}


def graph(path: Path, operator: str = "Relu", domain: str = "") -> Path:
    """An ONNX file with one node, X [n, 3] to Y."""
    node = helper.make_node(operator, ["X"], ["Y"], name="the_node", domain=domain)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "XY")
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opsets), path)
    return path


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx_bindings", reason="the extra gate is not installed")


@pytest.mark.parametrize("capability", ["SM75", "SM80"])
def test_a_network_of_the_repository_becomes_an_engine(rtx: Any, tmp_path: Path, capability: str) -> None:
    """Both of TensorRT's profiles, the timing cache and the stage's own shapes, as on a T4 and an A100."""
    folder = REPOSITORY / "compositor"
    timing = tmp_path / "timing" / "cache"
    shapes = input_shapes(read_config(folder / "config.pbtxt"))
    builder = ModuleBuilder(rtx, capability)
    engine = builder.build(folder / "1" / "model.onnx", shapes, PROFILE, timing)
    assert len(engine) > 10_000
    assert b"AVATAR_BACKDROP" in engine
    assert timing.is_file()
    assert builder.name.startswith("tensorrt_rtx")


def test_a_timing_cache_of_another_machine_is_begun_anew(rtx: Any, tmp_path: Path) -> None:
    timing = tmp_path / "cache"
    timing.write_bytes(b"not a timing cache at all")
    assert ModuleBuilder(rtx, "SM80").build(graph(tmp_path / "g.onnx"), SHAPES, PROFILE, timing)
    assert timing.read_bytes() != b"not a timing cache at all"


def test_an_operator_that_tensorrt_lacks_is_named_with_its_node(rtx: Any, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"cannot parse .*Nonsense the_node"):
        ModuleBuilder(rtx, "SM80").build(graph(tmp_path / "g.onnx", "Nonsense", "made.up"), SHAPES, PROFILE, None)


def test_a_file_that_is_no_onnx_is_refused(rtx: Any, tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(b"no network")
    with pytest.raises(Refusal, match="cannot parse"):
        ModuleBuilder(rtx, "SM80").build(tmp_path / "g.onnx", SHAPES, PROFILE, None)


@pytest.mark.parametrize("shapes", [{"X": (4,)}, {"Z": (3,)}, {"X": (3,), "W": (1,)}])
def test_a_network_that_does_not_fit_its_stage_is_refused(
    rtx: Any, tmp_path: Path, shapes: dict[str, tuple[int, ...]]
) -> None:
    """It would build, and then not load in the server."""
    with pytest.raises(Refusal, match=r"does not fit the stage's config\.pbtxt"):
        ModuleBuilder(rtx, "SM80").build(graph(tmp_path / "g.onnx"), shapes, PROFILE, None)


# --- trtexec ----------------------------------------------------------------------------------------------------


def trtexec(folder: Path, body: str) -> Path:
    """A program in trtexec's place, which no test machine has."""
    path = folder / "trtexec"
    path.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_trtexec_is_given_both_profiles_and_the_types_of_the_onnx(tmp_path: Path) -> None:
    program = trtexec(
        tmp_path,
        "plan = next(word for word in sys.argv if word.startswith('--saveEngine=')).partition('=')[2]\n"
        "open(plan, 'w').write(' '.join(sys.argv[1:]))",
    )
    engine = TrtexecBuilder(program, "10.4.0").build(Path("g.onnx"), {"X": (3,), "Y": (2, 5)}, PROFILE, tmp_path / "t")
    words = engine.decode().split()
    assert "--stronglyTyped" in words
    assert "--noTF32" in words
    assert f"--timingCacheFile={tmp_path / 't'}" in words
    first, second = words.index("--profile=0"), words.index("--profile=1")
    assert words[first + 1 : first + 4] == [
        "--minShapes=X:1x3,Y:1x2x5",
        "--optShapes=X:1x3,Y:1x2x5",
        "--maxShapes=X:4x3,Y:4x2x5",
    ]
    assert words[second + 2] == "--optShapes=X:4x3,Y:4x2x5"


def test_newer_trtexec_is_not_given_a_switch_that_it_lost(tmp_path: Path) -> None:
    program = trtexec(
        tmp_path,
        "plan = next(word for word in sys.argv if word.startswith('--saveEngine=')).partition('=')[2]\n"
        "open(plan, 'w').write(' '.join(sys.argv[1:]) + ' TF32 ' + __import__('os').environ['NVIDIA_TF32_OVERRIDE'])",
    )
    engine = TrtexecBuilder(program, "11.2.1").build(Path("g.onnx"), SHAPES, BatchProfile(1), None)
    assert b"--stronglyTyped" not in engine
    assert engine.endswith(b" TF32 0")
    assert engine.count(b"--profile=") == 1


def test_what_trtexec_says_of_a_failure_is_told(tmp_path: Path) -> None:
    program = trtexec(tmp_path, "print('[I] hello\\n[E] Error[4]: no importer for op: Nonsense'); sys.exit(1)")
    with pytest.raises(Refusal, match=r"cannot build .*no importer for op: Nonsense"):
        TrtexecBuilder(program, "10.4.0").build(Path("g.onnx"), SHAPES, PROFILE, None)


@pytest.mark.parametrize(
    "said",
    [
        "[E] Error[2]: [virtualMemoryBuffer.cpp::resizePhysical] Error Code 2: OutOfMemory (no further information)",
        "[E] Error[1]: [defaultAllocator.cpp::allocate::19] Error Code 1: Cuda Runtime (out of memory)",
        "[E] Requested amount of GPU memory (2147483648 bytes) could not be allocated.",
    ],
)
def test_a_card_without_room_is_not_taken_for_a_network_at_fault(tmp_path: Path, said: str) -> None:
    """The last server still runs on it, say: proving the graph elsewhere would not help."""
    program = trtexec(tmp_path, f"print({said!r}); sys.exit(1)")
    with pytest.raises(Refusal, match="cannot build") as refused:
        TrtexecBuilder(program, "10.4.0").build(Path("g.onnx"), SHAPES, PROFILE, None)
    assert "nvidia-smi" in refused.value.remedy
    assert "--max-sessions" in refused.value.remedy


def test_a_tensorrt_that_does_not_start_tells_why() -> None:
    """On a driver older than the image pybind11 raises TypeError, and the reason is a warning in TensorRT's log."""

    class Log:
        WARNING, ERROR, INTERNAL_ERROR = range(3)

    def no_builder(log: Any) -> None:
        log.log(Log.WARNING, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    module: Any = SimpleNamespace(ILogger=Log, Builder=no_builder)
    with pytest.raises(
        Refusal, match="does not start on this GPU: CUDA initialization failure with error: 35"
    ) as refused:
        ModuleBuilder(module).build(Path("g.onnx"), SHAPES, PROFILE, None)
    assert "driver" in refused.value.remedy


# --- which of them ----------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(build, "MODULES", ("no_such_tensorrt",))
    monkeypatch.setattr(build, "TRTEXEC", str(tmp_path / "absent"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_without_tensorrt_the_way_without_it_is_named(nothing_installed: Path) -> None:
    with pytest.raises(Refusal, match="--runtime onnxruntime-cuda"):
        find_builder(None)


def test_with_nothing_that_builds_the_package_is_named(nothing_installed: Path) -> None:
    with pytest.raises(Refusal, match=r"tensorrt-cu13-bindings==11\.2\.1"):
        find_builder("11.2.1")


def test_trtexec_is_taken_where_there_is_no_module(nothing_installed: Path) -> None:
    trtexec(nothing_installed, "")
    assert find_builder("10.4.0").name == "trtexec 10.4.0"


def test_a_module_of_another_tensorrt_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its engines would be built for minutes, and then not be read by the server. NVIDIA's images have trtexec."""
    monkeypatch.setattr(build, "MODULES", ("made_up_tensorrt",))
    module: Any = SimpleNamespace(__name__="made_up_tensorrt", __version__="10.13.0.35")
    monkeypatch.setitem(sys.modules, "made_up_tensorrt", module)
    monkeypatch.setattr(build, "TRTEXEC", str(tmp_path / "absent"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refusal, match=r"is TensorRT 10\.13\.0\.35, the server's library is 11\.2\.1"):
        find_builder("11.2.1")
    assert find_builder("10.13.0").name == "made_up_tensorrt 10.13.0.35"
    trtexec(tmp_path, "")
    assert find_builder("11.2.1").name == "trtexec 11.2.1"
