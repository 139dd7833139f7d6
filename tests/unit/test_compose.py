"""docker-compose.yml, held against the Compose Specification and what the images need: an engine is not everywhere."""

from __future__ import annotations

import copy
import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from facestream.contract import (
    ADMIN_KEY_VARIABLE,
    AVATARS_VARIABLE,
    MAX_QUALITY_VARIABLE,
    MAX_SESSIONS_VARIABLE,
    VOICES_VARIABLE,
)
from facestream.server import container, launch

from export.container import lock
from export.lanes import LANES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVERS = ["cpu", "gpu", "v100"]
GPU_SERVERS = ["gpu", "v100"]
BUILDERS = {"build-engines": "gpu", "build-engines-v100": "v100"}


def interpolated(value: Any, environment: dict[str, str]) -> Any:
    """What Compose makes of `${NAME:-DEFAULT}` and `$$` in every string of the file."""
    if isinstance(value, dict):
        return {key: interpolated(entry, environment) for key, entry in value.items()}
    if isinstance(value, list):
        return [interpolated(entry, environment) for entry in value]
    if not isinstance(value, str):
        return value

    def put(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        assert match[1], f"neither ${{NAME:-DEFAULT}} nor $$: {value!r}"
        return environment.get(match[1]) or match[2]

    return re.sub(r"\$\$|\$(?:\{(\w+):-([^}]*)\})?", put, value)


def composed(environment: dict[str, str] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = interpolated(yaml.safe_load(TEXT), environment or {})
    return made


SERVICES: dict[str, dict[str, Any]] = composed()["services"]


def check(document: dict[str, Any]) -> None:
    PyCompose.from_json(json.dumps(document)).validate()


EVERYTHING_SET = {
    "FACESTREAM_ADDRESS": "0.0.0.0",
    "FACESTREAM_AVATARS": "/srv/avatars",
    "FACESTREAM_ENGINES": "/srv/engines",
    "FACESTREAM_GPU": "GPU-5a1f2c3d",
    "FACESTREAM_GRPC_PORT": "9001",
    "FACESTREAM_MAX_SESSIONS": "16",
    "FACESTREAM_TTS": "0",
    "FACESTREAM_TTS_VOICES": "../voices",
}


@pytest.mark.parametrize("environment", [{}, EVERYTHING_SET], ids=["defaults", "all set"])
def test_it_follows_the_compose_specification(environment: dict[str, str]) -> None:
    check(composed(environment))


@pytest.mark.parametrize(
    ("where", "entry"),
    [
        ((), {"shm_sise": "1g"}),
        ((), {"restart": "sometimes"}),
        ((), {"ports": ["127.0.0.1:80000:8000"]}),
        (("healthcheck",), {"interval": "5 seconds"}),
        (("deploy", "resources", "reservations", "devices", 0), {"drivr": "nvidia"}),
        (("build",), {"dockerfile_in_line": "FROM x"}),
    ],
)
def test_the_check_of_the_specification_has_teeth(where: tuple[Any, ...], entry: dict[str, Any]) -> None:
    """Compose ignores nothing: a misspelt key stops `docker compose up` on the machine with the GPU."""
    document = copy.deepcopy(composed())
    place = document["services"]["gpu"]
    for step in where:
        place = place[step]
    place.update(entry)
    with pytest.raises(ValueError, match=r"."):
        check(document)


def test_a_profile_starts_one_server_and_builds_nothing() -> None:
    """Two servers would fight for the ports; a build at each start would take minutes."""
    for profile in SERVERS:
        assert [name for name, service in SERVICES.items() if profile in service["profiles"]] == [profile]
    assert all(service.get("profiles") for service in SERVICES.values()), "a plain up starts nothing"
    assert set(SERVICES) == {*SERVERS, *BUILDERS}


@pytest.mark.parametrize("name", SERVICES)
def test_the_images_are_those_of_the_lanes(name: str) -> None:
    """A moving tag changes TensorRT under the engines; Volta is gone from TensorRT after 24.09."""
    lane = BUILDERS.get(name, name)
    arguments = SERVICES[name]["build"]["args"]
    assert arguments["IMAGE"] == LANES[lane].image
    assert arguments["LANE"] == lane
    assert re.fullmatch(r"[^:]+:\d+\.\d+-[\w-]+", arguments["IMAGE"])


@pytest.mark.parametrize(("builder", "lane"), BUILDERS.items())
def test_engines_are_built_in_the_image_that_serves_them(builder: str, lane: str) -> None:
    """An engine is read by no other TensorRT than the one that built it."""
    assert SERVICES[builder]["image"] == SERVICES[lane]["image"]
    assert SERVICES[builder]["build"] == SERVICES[lane]["build"]
    assert SERVICES[builder]["environment"] == SERVICES[lane]["environment"]
    assert SERVICES[builder]["deploy"] == SERVICES[lane]["deploy"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_the_image_copies_and_installs(name: str) -> None:
    build = SERVICES[name]["build"]
    lines = build["dockerfile_inline"].replace("\\\n", " ").splitlines()
    assert "FROM ${IMAGE}" in lines
    assert lines[-1] == "USER 1000:1000", "the user triton-server of NVIDIA's images"
    for line in lines:
        if line.startswith("COPY "):
            for source in line.replace("${LANE}", build["args"]["LANE"]).split()[1:-1]:
                assert (ROOT / source).exists(), source
        for command in re.findall(r"pip install[^\"&]*", line):
            assert "--require-hashes" in command
            assert "--no-deps" in command
    # Without espeak-ng nothing else may be missing.
    gpl = next(line for line in lines if "tts.lock;" in line or "tts.lock ;" in line)
    assert re.search(r'if \[ "\$\{TTS\}" = 1 \]; then \$\{pip\} -r \S+/tts\.lock; fi', gpl)


@pytest.mark.parametrize("name", SERVICES)
def test_python_stages_get_shared_memory_and_the_stack_they_need(name: str) -> None:
    """With Docker's own 64 MB of /dev/shm, stages die in mid-session."""
    service = SERVICES[name]
    assert service["shm_size"] == "1g"
    assert service["ulimits"] == {"memlock": -1, "stack": 67108864}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_holds_as_little_power_as_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert service["init"] is True, "stubs that end are reaped"
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}, "a log does not fill the disk"


@pytest.mark.parametrize("name", SERVICES)
def test_mounts_are_read_only_but_for_what_is_built(name: str) -> None:
    volumes = {volume.split(":")[1]: volume for volume in SERVICES[name]["volumes"]}
    assert volumes["/models"] == "./model_repository:/models:ro"
    assert (ROOT / "model_repository").is_dir()
    writable = [target for target, volume in volumes.items() if not volume.endswith(":ro")]
    assert writable == (["/engines"] if name in BUILDERS else [])
    assert ("/engines" in volumes) == (name != "cpu")
    if name != "cpu":
        assert volumes["/engines"].split(":")[0] == "engines"
        assert "engines" in composed()["volumes"]


@pytest.mark.parametrize("name", SERVERS)
def test_health_is_asked_of_the_readiness_endpoint(name: str) -> None:
    """Liveness is true while the models still load; a balancer would send sessions too early."""
    check_of = SERVICES[name]["healthcheck"]
    assert "http://127.0.0.1:8000/v2/health/ready" in check_of["test"][-1]
    compile(check_of["test"][-1], "healthcheck", "exec")
    assert check_of["start_period"] == f"{container.START_SECONDS / 60:g}m"


@pytest.mark.parametrize("name", SERVERS)
def test_a_stop_waits_for_draining(name: str) -> None:
    """Docker kills what has not ended by then, and every live session with it."""
    service = SERVICES[name]
    words = service["command"]
    assert words[:3] == ["python3", "-m", "facestream.server.container"]
    given = container.options().parse_args(words[3:])
    seconds = given.drain_seconds + launch.EXIT_SECONDS + 10.0
    assert float(service["stop_grace_period"].removesuffix("s")) > seconds + 10.0
    assert service["restart"] == "unless-stopped"
    assert given.from_wheel == (name == "cpu")


@pytest.mark.parametrize("name", SERVERS)
def test_ports_are_open_on_this_machine_alone(name: str) -> None:
    """Triton asks nobody for a password; Docker opens ports past the machine's firewall."""
    targets = [port.split(":")[2] for port in SERVICES[name]["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])
    # The HTTP servers of 24.09 and of 24.10, which is in pip's wheel, have known holes.
    assert targets == (["8000", "8001", "8002"] if name == "gpu" else ["8001", "8002"])
    given = container.options().parse_args(SERVICES[name]["command"][3:])
    assert given.ports == [8000, 8001, 8002]
    assert given.old_release == (name == "v100")


@pytest.mark.parametrize("name", SERVERS)
def test_the_variables_are_those_that_the_stages_read(name: str) -> None:
    """A misspelt one is ignored without a word."""
    given = set(SERVICES[name]["environment"])
    read = {AVATARS_VARIABLE, VOICES_VARIABLE, MAX_SESSIONS_VARIABLE, MAX_QUALITY_VARIABLE, ADMIN_KEY_VARIABLE}
    assert read <= given
    assert (container.RUNTIME_VARIABLE in given) == (name != "cpu")
    sources = [*(ROOT / "client").rglob("*.py"), *(ROOT / "model_repository").rglob("*.py")]
    sources += (ROOT / "export" / "engines").rglob("*.py")
    text = "\n".join(file.read_text() for file in sources)
    for variable in given:
        if variable.startswith("FACESTREAM_"):
            assert f'"{variable}"' in text, f"{variable} is read nowhere"


def test_every_setting_is_told_at_the_top() -> None:
    head = TEXT[: TEXT.index("\nname:")]
    used = set(re.findall(r"\$\{(FACESTREAM_\w+):-", TEXT))
    assert used == set(re.findall(r"\bFACESTREAM_\w+", head))
    for runtime in container.RUNTIMES:
        assert runtime in head


@pytest.mark.parametrize("file", ["README.md", "docker-compose.yml", "client/facestream/cli/gpu_findings.py"])
def test_commands_that_we_tell_name_their_profile(file: str) -> None:
    """Compose leaves out a service whose profile is not named: nothing is built or stopped, without a word."""
    for command in re.findall(r"docker compose [^\n`\"]*", (ROOT / file).read_text()):
        if re.search(r"^docker compose (--\S+ )*(up|build|stop|down|restart|logs)\b", command):
            assert "--profile" in command, command


@pytest.mark.parametrize("name", SERVICES)
def test_gpus_are_reserved_where_they_are_used(name: str) -> None:
    devices = SERVICES[name].get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    if name == "cpu":
        assert devices == []
        return
    (device,) = devices
    assert device["driver"] == "nvidia"
    assert device["device_ids"] == ["0"], "one server takes one GPU"
    assert "video" in device["capabilities"], "NVENC"
    assert "video" in SERVICES[name]["environment"]["NVIDIA_DRIVER_CAPABILITIES"].split(",")


def test_the_lane_without_a_gpu_has_nothing_for_gpus() -> None:
    """Who does not want NVIDIA's licences must be able to do without all that they cover but pip's Triton."""
    told = json.dumps(SERVICES["cpu"]).lower()
    assert "nvidia" not in told
    assert "tensorrt" not in told
    names = {pin.name for pin in lock.read("cpu")}
    assert not {name for name in names if re.match(r"nvidia|tensorrt|cupy|cuda", name)}


@functools.cache
def build_options() -> set[str]:
    command = [sys.executable, "-m", "export.engines", "--help"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[a-z-]+", told))


@pytest.mark.parametrize(("builder", "lane"), BUILDERS.items())
def test_words_after_a_builder_go_to_the_build(builder: str, lane: str) -> None:
    """`docker compose run --rm build-engines --precision fp32`: the words take the place of `command`."""
    service = SERVICES[builder]
    assert "command" not in service
    assert service["entrypoint"][:4] == ["/opt/nvidia/nvidia_entrypoint.sh", "python3", "-m", "export.engines"]
    assert {word for word in service["entrypoint"] if word.startswith("--")} <= build_options()
    assert "restart" not in service
    assert "ports" not in service
