"""The stand-in for Triton's ONNX Runtime backend, without Triton."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from facestream.server.onnxruntime_backend.network import NetworkError, TensorSpec, check, load, run_batch
from onnx import TensorProto, helper

FP32, INT64 = np.dtype(np.float32), np.dtype(np.int64)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SUM[batch, 2] = A + B, PRODUCT[batch, 2] = A * B."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["A", "B"], ["SUM"]), helper.make_node("Mul", ["A", "B"], ["PRODUCT"])],
        "arithmetic",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("A", "B")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("SUM", "PRODUCT")],
    )
    file = tmp_path_factory.mktemp("network") / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    return file


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_both_runtimes_answer_alike(file: Path, runtime: str) -> None:
    """A configuration may name either; outputs come in the order asked for, items in the order given."""
    network = load(file, runtime, threads=1, batched=True)
    a, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.full((3, 2), 2, np.float32)
    product, total = run_batch(network, {"A": a, "B": b}, ["PRODUCT", "SUM"])
    np.testing.assert_array_equal(product, a * 2)
    np.testing.assert_array_equal(total, a + 2)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_answers_stay_when_the_network_runs_again(file: Path, runtime: str) -> None:
    """Borrowed memory would give one session the picture of the next."""
    network = load(file, runtime, threads=1, batched=True)
    ones = np.ones((1, 2), np.float32)
    (first,) = network.run({"A": ones, "B": ones}, ["SUM"])
    network.run({"A": ones * 9, "B": ones * 9}, ["SUM"])
    np.testing.assert_array_equal(first, [[2, 2]])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_reads_what_triton_lends(file: Path, runtime: str) -> None:
    """Read-only arrays, every second of a column: answered alike, and never written to."""
    network = load(file, runtime, threads=1, batched=True)
    lent = np.arange(4, dtype=np.float32).reshape(1, 4)
    lent.flags.writeable = False
    total, product = network.run({"A": lent[:, ::2], "B": lent[:, 2:]}, ["SUM", "PRODUCT"])
    np.testing.assert_array_equal(total, [[2, 5]])
    np.testing.assert_array_equal(product, [[0, 6]])
    np.testing.assert_array_equal(lent, [[0, 1, 2, 3]])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_wants_every_input_anew(file: Path, runtime: str) -> None:
    """What a request leaves out must not be another one's."""
    network = load(file, runtime, threads=1, batched=True)
    ones = np.ones((1, 2), np.float32)
    network.run({"A": ones, "B": ones}, ["SUM"])
    with pytest.raises(ValueError, match="B"):
        network.run({"A": ones}, ["SUM"])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_lent_answers_are_right_until_the_next_run(file: Path, runtime: str) -> None:
    """A frame that is passed on at once is not copied; sessions that share a batch get answers of their own."""
    network = load(file, runtime, threads=1, batched=True)
    ones = np.ones((1, 2), np.float32)
    product, total = run_batch(network, {"A": ones * 3, "B": ones * 2}, ["PRODUCT", "SUM"], lent=True)
    np.testing.assert_array_equal(product, [[6, 6]])
    np.testing.assert_array_equal(total, [[5, 5]])
    several = np.arange(6, dtype=np.float32).reshape(3, 2)
    (total,) = run_batch(network, {"A": several, "B": several}, ["SUM"], lent=True)
    np.testing.assert_array_equal(total, several * 2)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_free_batch_dimension_is_seen(file: Path, runtime: str) -> None:
    network = load(file, runtime, threads=1, batched=True)
    assert network.inputs["A"] == TensorSpec("A", FP32, (-1, 2))


@pytest.mark.parametrize(
    ("inputs", "outputs", "told"),
    [
        ([("A", FP32, (2,))], [("SUM", FP32, (2,))], r"input B float32 \[-1, 2\] of the network is not configured"),
        ([("A", FP32, (2,)), ("B", FP32, (3,))], [], r"configured as B float32 \[-1, 3\].* has B float32 \[-1, 2\]"),
        ([("A", FP32, (2,)), ("B", INT64, (2,))], [], r"configured as B int64 .* has B float32"),
        ([("A", FP32, (2,)), ("B", FP32, (2,))], [("MEAN", FP32, (2,))], r"MEAN is configured.* only SUM, PRODUCT"),
    ],
)
def test_a_configuration_unlike_the_network_is_told(
    file: Path, inputs: list[tuple[Any, ...]], outputs: list[tuple[Any, ...]], told: str
) -> None:
    """Found at the first request, it would take down a session instead of the start."""
    network = load(file, "onnxruntime", threads=1, batched=True)
    with pytest.raises(NetworkError, match=told):
        check(network, [TensorSpec(*one) for one in inputs], [TensorSpec(*one) for one in outputs], batched=True)


@pytest.mark.parametrize(
    ("name", "runtime", "threads", "told"),
    [
        ("model.onnx", "tensorrt", 1, "unknown runtime 'tensorrt'.*onnxruntime, openvino"),
        ("model.onnx", "openvino", 0, "threads .* is 0: expected 1 or more"),
        ("absent.onnx", "openvino", 1, "no network at .*absent.onnx"),
    ],
)
def test_what_cannot_be_loaded_is_told(file: Path, name: str, runtime: str, threads: int, told: str) -> None:
    with pytest.raises(NetworkError, match=told):
        load(file.with_name(name), runtime, threads, batched=True)


def test_nobody_is_told_that_openvino_is_used(tmp_path: Path) -> None:
    """Each start of a server and each avatar sent an event to Google Analytics, and kept a number in ~/intel."""
    program = (
        "import facestream, openvino, sys; openvino.Core(); "
        "assert not [name for name, module in sys.modules.items() if name.startswith('openvino_telemetry') and module]"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("CI", None)  # in which it keeps quiet by itself
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert not list(tmp_path.iterdir())
