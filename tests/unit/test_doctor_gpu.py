"""`facestream doctor` on machines with GPUs: stand-ins for nvidia-smi and docker answer as the real ones do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from facestream.cli import gpu_findings
from facestream.cli.finding import Finding

from export.lanes import LANES


class Machine:
    """A folder of programs in place of PATH, and one of PCI devices."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs = folder / "bin"
        self.bus = folder / "pci"
        self.programs.mkdir()
        self.bus.mkdir()
        monkeypatch.setenv("PATH", str(self.programs))
        monkeypatch.setattr(gpu_findings, "PCI", self.bus)

    def install(self, name: str, script: str) -> None:
        file = self.programs / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def card(self, line: str) -> None:
        """nvidia-smi answers with this line of "index, name, driver, capability"."""
        self.install("nvidia-smi", f"echo '{line}'")

    def docker(self, version: str = "2.29.7") -> None:
        self.install("docker", f'case "$1" in compose) echo {version};; info) echo 27.3.1;; esac')

    def complete(self) -> None:
        self.docker()
        self.install("nvidia-ctk", "true")

    def plug_in(self) -> None:
        (self.bus / "0000:3b:00.0").mkdir()
        (self.bus / "0000:3b:00.0" / "vendor").write_text("0x10de\n")
        (self.bus / "0000:3b:00.0" / "class").write_text("0x030200\n")

    def findings(self, wanted: bool = True) -> dict[str, Finding]:
        return {finding.subject: finding for finding in gpu_findings.gpu_findings(wanted)}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("line", "profile", "builder"),
    [
        ("0, Tesla T4, 580.95.05, 7.5", "gpu", "build-engines"),
        ("0, NVIDIA A100-SXM4-80GB, 615.61, 8.0", "gpu", "build-engines"),
        ("0, NVIDIA H100 80GB HBM3, 590.48.01, 9.0", "gpu", "build-engines"),
        ("0, NVIDIA L4, 580.126.09, 8.9", "gpu", "build-engines"),
        ("0, Tesla V100-SXM2-16GB, 580.95.05, 7.0", "v100", "build-engines-v100"),
        ("0, Tesla V100-PCIE-32GB, 535.183.01, 7.0", "v100", "build-engines-v100"),
    ],
)
def test_a_machine_that_has_all_is_told_its_two_commands(
    machine: Machine, line: str, profile: str, builder: str
) -> None:
    machine.card(line)
    machine.complete()
    found = machine.findings()
    assert {one.level for one in found.values()} == {"ok", "note"}
    assert found["GPU 0"].level == "ok"
    remedy = found[f"lane {profile}"].remedy
    assert remedy == f"docker compose run --rm {builder} && docker compose --profile {profile} up -d"


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize(
    ("line", "told", "mended_by"),
    [
        ("0, Tesla T4, 470.239.06, 7.5", "asks for driver 580 or later", "nvidia-driver-580"),
        ("0, Tesla V100-SXM2-16GB, 450.80.02, 7.0", "asks for driver 525 or later", "nvidia-driver-580"),
        ("0, Tesla V100-SXM2-16GB, 595.45.04, 7.0", "580 is the last branch that knows this card", "nvidia-driver-580"),
        ("0, Tesla K80, 470.239.06, 3.7", "older than the oldest that is served", "--profile cpu"),
        ("0, Tesla P100-PCIE-16GB, 580.95.05, 6.0", "older than the oldest that is served", "--profile cpu"),
        ("0, Mystery 9000, 580.95.05, [N/A]", "compute capability is unknown", "nvidia-driver-580"),
    ],
)
def test_what_a_card_lacks_comes_with_what_mends_it(
    machine: Machine, line: str, told: str, mended_by: str, wanted: bool
) -> None:
    machine.card(line)
    machine.complete()
    finding = machine.findings(wanted)["GPU 0"]
    assert told in finding.text
    assert mended_by in finding.remedy
    # Whoever serves on the processor has nothing to mend.
    assert finding.level == ("missing" if wanted else "note")


def test_an_older_driver_on_a_data_centre_card_may_do(machine: Machine) -> None:
    """Many rented machines run 535 or 550; it is for their owner to decide."""
    machine.card("0, Tesla T4, 550.163.01, 7.5")
    machine.complete()
    finding = machine.findings()["GPU 0"]
    assert finding.level == "note"
    assert "data centre cards only" in finding.text


def test_a_driver_too_old_to_tell_the_capability(machine: Machine) -> None:
    """Before R515 the field is unknown to nvidia-smi, and the name has to do."""
    machine.install(
        "nvidia-smi",
        'case "$1" in *compute_cap*) echo \'Field "compute_cap" is not a valid field to query.\'; exit 2;; '
        "*) echo '0, Tesla V100-SXM2-16GB, 470.239.06';; esac",
    )
    assert "compute capability 7.0" in machine.findings()["GPU 0"].text


@pytest.mark.parametrize("output", ["No devices were found", "NVIDIA-SMI has failed because it could not communicate"])
def test_a_driver_that_sees_no_card(machine: Machine, output: str) -> None:
    """What a V100 looks like under a driver of branch 590, and any card under a broken one."""
    machine.install("nvidia-smi", f"echo '{output}'; exit 9")
    machine.plug_in()
    finding = machine.findings()["GPU"]
    assert finding.level == "missing"
    assert "0000:3b:00.0" in finding.text
    assert output in finding.text
    assert "no V100" in finding.text
    assert "nvidia-driver-580" in finding.remedy


def test_a_card_without_a_driver(machine: Machine) -> None:
    machine.plug_in()
    finding = machine.findings()["GPU"]
    assert finding.level == "missing"
    assert "nvidia-smi: not installed" in finding.text
    assert finding.remedy


@pytest.mark.parametrize("wanted", [True, False])
def test_no_gpu_is_said_plainly(machine: Machine, wanted: bool) -> None:
    finding = machine.findings(wanted)["GPU"]
    assert finding.text == "no NVIDIA card and no driver: everything runs on the processor"
    assert finding.level == ("missing" if wanted else "note")
    assert bool(finding.remedy) == wanted


def test_a_missing_toolkit(machine: Machine) -> None:
    """Docker would say only: could not select device driver "nvidia" with capabilities."""
    machine.card("0, Tesla T4, 580.95.05, 7.5")
    machine.docker()
    finding = machine.findings()["container toolkit"]
    assert finding.level == "missing"
    assert "nvidia-ctk runtime configure" in finding.remedy


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (None, "not installed"),
        ("echo 1.29.2", "1.29.2, and docker-compose.yml needs 2.17.0"),
        ("echo \"docker: 'compose' is not a docker command.\" >&2; exit 1", "is not a docker command"),
        ("echo 'unknown flag: --short' >&2; exit 125", "`docker compose version` fails: unknown flag: --short"),
        ("exit 1", "`docker compose version` fails: it says nothing"),
        ('case "$1" in compose) echo 2.29.7;; *) echo "permission denied" >&2; exit 1;; esac', "permission denied"),
    ],
)
def test_docker_is_looked_at(machine: Machine, script: str | None, told: str) -> None:
    machine.card("0, Tesla T4, 580.95.05, 7.5")
    if script is not None:
        machine.install("docker", script)
    finding = machine.findings()["docker compose"]
    assert finding.level == "missing"
    assert told in finding.text
    assert finding.remedy


def test_several_cards_are_told_one_by_one(machine: Machine) -> None:
    machine.install("nvidia-smi", "echo '0, Tesla T4, 580.95.05, 7.5'; echo '1, Tesla V100-SXM2-16GB, 580.95.05, 7.0'")
    machine.complete()
    found = machine.findings()
    assert {"GPU 0", "GPU 1", "lane gpu", "lane v100"} <= set(found)


def test_the_numbers_are_those_of_the_lanes() -> None:
    """The client knows them by heart, because `export` is not installed with it."""
    by_name = {lane.profile: lane for lane in gpu_findings.LANES}
    assert set(by_name) == {name for name, lane in LANES.items() if lane.tensorrt is not None}
    for name, lane in by_name.items():
        wanted = LANES[name]
        assert lane.least_capability == wanted.least_compute_capability
        assert lane.most_capability == wanted.most_compute_capability
        assert lane.least_driver == wanted.least_driver
        assert lane.most_driver == wanted.most_driver


def test_the_oldest_compose_is_the_one_that_reads_our_file() -> None:
    text = (Path(__file__).parents[2] / "docker-compose.yml").read_text()
    assert re.search(r"^ +dockerfile_inline:", text, flags=re.MULTILINE), "2.17 is needed for this alone"
