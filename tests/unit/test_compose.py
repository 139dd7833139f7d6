"""docker-compose.yml, held against what NVIDIA's container needs: an engine to try it on is not everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from facestream.contract import AVATARS_VARIABLE, MAX_QUALITY_VARIABLE, MAX_SESSIONS_VARIABLE, VOICES_VARIABLE
from facestream.server import drain

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_a_plain_up_starts_one_server() -> None:
    """Two services without a profile would fight for the ports."""
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == ["triton"]


@pytest.mark.parametrize("name", SERVICES)
def test_python_stages_get_shared_memory_and_the_stack_they_need(name: str) -> None:
    """With Docker's own 64 MB of /dev/shm, stages die in mid-session."""
    service = SERVICES[name]
    assert service["shm_size"] == "1g"
    assert service["ulimits"] == {"memlock": -1, "stack": 67108864}


@pytest.mark.parametrize("name", SERVICES)
def test_the_repository_is_served_as_it_is_and_read_only(name: str) -> None:
    service = SERVICES[name]
    assert "./model_repository:/models:ro" in service["volumes"]
    assert "--model-repository=/models" in service["command"]
    assert (ROOT / "model_repository").is_dir()


@pytest.mark.parametrize("name", SERVICES)
def test_health_is_asked_of_the_readiness_endpoint(name: str) -> None:
    """Liveness is true while the models still load; a balancer would send sessions too early."""
    check = SERVICES[name]["healthcheck"]
    assert "/v2/health/ready" in check["test"][-1]
    assert check["start_period"] == "15m"


@pytest.mark.parametrize("name", SERVICES)
def test_the_image_is_pinned_and_holds_the_package(name: str) -> None:
    """A moving tag changes TensorRT under the engines; Volta is gone from TensorRT after 24.09."""
    build = SERVICES[name]["build"]
    assert re.fullmatch(r"\d\d\.\d\d-py3", build["args"]["TRITON"])
    assert (build["args"]["TRITON"] == "24.09-py3") == (name == "volta")
    # Compose would put its own variables in place of a single $.
    assert "FROM nvcr.io/nvidia/tritonserver:$${TRITON}" in build["dockerfile_inline"]
    for copied in re.findall(r"^COPY (.*) \S+$", build["dockerfile_inline"], flags=re.MULTILINE):
        assert all((ROOT / source).exists() for source in copied.split()), copied


@pytest.mark.parametrize("name", SERVICES)
def test_the_variables_are_those_that_the_stages_read(name: str) -> None:
    """A misspelt one is ignored without a word."""
    names = {entry.partition("=")[0] for entry in SERVICES[name]["environment"]}
    assert {AVATARS_VARIABLE, MAX_QUALITY_VARIABLE, MAX_SESSIONS_VARIABLE, VOICES_VARIABLE, drain.VARIABLE} <= names


@pytest.mark.parametrize("name", SERVICES)
def test_gpus_are_reserved_where_they_are_used(name: str) -> None:
    devices = SERVICES[name].get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    assert [device["driver"] for device in devices] == ([] if name == "cpu" else ["nvidia"])
