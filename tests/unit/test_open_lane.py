"""The committed repository needs nothing of NVIDIA: ONNX Runtime and Python serve it, under open licences alone."""

from __future__ import annotations

import ast
from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "model_repository"
FOLDERS = sorted(file.parent for file in REPOSITORY.glob("*/config.pbtxt"))
NETWORKS = [folder for folder in FOLDERS if (folder / "1" / "model.onnx").is_file()]

OLDEST_IR, OLDEST_OPSET = 10, 21
"""What ONNX Runtime 1.19 reads, that of Triton 24.09, the oldest of the containers."""

CLOSED = {"cupy", "cuda", "tensorrt", "tensorrt_bindings", "pynvml", "polygraphy", "torch"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_model_runs_without_a_gpu(folder: Path) -> None:
    """An instance of KIND_GPU fails to load on a machine without one, and with it all that needs it."""
    config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
    assert config.platform == "ensemble" or config.backend in {"python", "onnxruntime"}
    allowed = {ModelInstanceGroup.KIND_AUTO, ModelInstanceGroup.KIND_CPU}
    assert {group.kind for group in config.instance_group} <= allowed
    assert not config.optimization.execution_accelerators.gpu_execution_accelerator
    assert not list(folder.rglob("*.plan"))


@pytest.mark.parametrize("folder", NETWORKS, ids=lambda folder: folder.name)
def test_the_oldest_container_can_read_every_network(folder: Path) -> None:
    model = onnx.load(folder / "1" / "model.onnx", load_external_data=False)
    assert model.ir_version <= OLDEST_IR
    assert [(entry.domain, entry.version <= OLDEST_OPSET) for entry in model.opset_import] == [("", True)]


@pytest.mark.parametrize("file", sorted(REPOSITORY.rglob("*.py")), ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_stages_import_nothing_closed_unasked(file: Path) -> None:
    """Imports inside of a function are for machines that have what they name."""
    assert not CLOSED & imported(file)


def test_the_package_imports_nothing_closed_unasked() -> None:
    for file in sorted((ROOT / "client" / "facestream").rglob("*.py")):
        assert not CLOSED & imported(file), file


def imported(file: Path) -> set[str]:
    """Top names of the modules that loading a file imports."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found
