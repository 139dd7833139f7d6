"""What a container is started with is checked before the server starts: a stage would misread it, and say nothing."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
from facestream.contract import MAX_SESSIONS, SPEECH_MODEL
from facestream.server.container import AS_COMMITTED, RUNTIME_VARIABLE, SettingError, check_settings, main, repository
from facestream.server.program import ADMIN_HEADER, CUDA_POOL_BYTES, closed_to_clients, model_control
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig
from tritonclient.utils import triton_to_np_dtype

MODELS, ENGINES = Path("/models"), Path("/engines")


@pytest.fixture
def checker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for export.engines.check, which a test fills with what it should say."""
    folder = tmp_path / "export" / "engines"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder.parent / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    return folder / "check.py"


def test_the_repository_as_committed_needs_nothing_built() -> None:
    assert repository({RUNTIME_VARIABLE: AS_COMMITTED}, MODELS, ENGINES) == MODELS
    assert repository({}, MODELS, ENGINES) == MODELS


def test_engines_that_were_checked_are_served(checker: Path) -> None:
    checker.write_text("print('/engines/tesla-t4/model_repository')")
    environment = {**os.environ, RUNTIME_VARIABLE: "tensorrt"}
    assert repository(environment, MODELS, ENGINES) == Path("/engines/tesla-t4/model_repository")


@pytest.mark.parametrize("body", ["raise SystemExit('stale')", "print('/engines/x')\nraise SystemExit(1)", "print()"])
@pytest.mark.parametrize(("lane", "service"), [("gpu", "build-engines"), ("v100", "build-engines-v100")])
def test_engines_that_fail_the_check_are_never_served(checker: Path, body: str, lane: str, service: str) -> None:
    """Neither a half-built repository nor, silently, the slower one."""
    checker.write_text(body)
    environment = {**os.environ, RUNTIME_VARIABLE: "tensorrt", "FACESTREAM_LANE": lane}
    with pytest.raises(SettingError, match=rf"docker compose run --rm {service}\. .*{RUNTIME_VARIABLE}={AS_COMMITTED}"):
        repository(environment, MODELS, ENGINES)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (RUNTIME_VARIABLE, "trt", "'trt': expected one of tensorrt"),
        ("FACESTREAM_MAX_SESSIONS", "0", "'0': expected a whole number of 1 or more"),
        ("FACESTREAM_MAX_SESSIONS", "many", "'many': expected a whole number"),
        ("FACESTREAM_MAX_QUALITY", "best", "'best'; expected one of fast, standard, high"),
        ("FACESTREAM_ADMIN_KEY", "secret", "6 characters: expected 16 or more"),
        ("FACESTREAM_ADMIN_KEY", "0123456789abcde:", "letters and digits"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert main([]) == 2
    said = capsys.readouterr().err
    assert name in said
    assert told in said


def test_an_old_release_takes_no_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Triton 24.09's keys can be passed by: a key would promise a safety that is not there."""
    monkeypatch.setenv("FACESTREAM_ADMIN_KEY", "0123456789abcdef")
    assert main(["--old-release"]) == 2
    assert "expected none" in capsys.readouterr().err


def test_the_key_itself_is_not_logged(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FACESTREAM_ADMIN_KEY", "hunter2")
    main([])
    assert "hunter2" not in "".join(capsys.readouterr())


def test_a_variable_that_compose_hands_on_empty_counts_as_unset() -> None:
    check_settings({"FACESTREAM_MAX_SESSIONS": "", "FACESTREAM_MAX_QUALITY": "", "FACESTREAM_ADMIN_KEY": ""})


def test_outside_of_the_image_the_way_without_a_container_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(RUNTIME_VARIABLE, raising=False)
    assert main(["--models", str(tmp_path)]) == 1
    assert "facestream serve" in capsys.readouterr().err


def test_the_gpu_keeps_room_for_every_session() -> None:
    """Else Triton passes tensors through the processor's memory under load, just when time is short."""
    frame = 0
    for file in (Path(__file__).parents[2] / "model_repository").glob("*/config.pbtxt"):
        config = text_format.Parse(file.read_text(), ModelConfig())
        if config.platform == "ensemble" or config.name == SPEECH_MODEL:
            continue
        frame += sum(
            np.dtype(triton_to_np_dtype(DataType.Name(output.data_type).removeprefix("TYPE_"))).itemsize
            * math.prod(output.dims)
            for output in config.output
        )
    assert frame * MAX_SESSIONS <= CUDA_POOL_BYTES


def test_nobody_may_load_models_unless_a_key_is_given() -> None:
    assert model_control(None, None) == ["--model-control-mode=none"]
    with_key = model_control(None, "0123456789abcdef")
    assert with_key[:2] == ["--model-control-mode=explicit", "--load-model=*"]
    assert {word.partition("=")[0] for word in with_key[2:]} == {"--grpc-restricted-protocol", "--http-restricted-api"}
    assert all(word.endswith(f"=model-repository:{ADMIN_HEADER}=0123456789abcdef") for word in with_key[2:])
    assert model_control(["avatar"], None) == ["--model-control-mode=explicit", "--load-model=avatar"]


def test_shared_memory_log_and_trace_take_a_key_that_nobody_is_told() -> None:
    """By them a client could read everybody's pictures, silence the log or fill the disk."""
    for key in ("0123456789abcdef", None):
        for word in closed_to_clients(key):
            option, names, value = re.fullmatch(rf"(\S+?)=(\S+):{ADMIN_HEADER}=(\w{{16,}})", word).groups()  # type: ignore[union-attr]
            assert option in ("--grpc-restricted-protocol", "--http-restricted-api")
            assert set(names.split(",")) == {"shared-memory", "trace", "logging"}
            assert value == key or key is None
    assert closed_to_clients(None) != closed_to_clients(None)
