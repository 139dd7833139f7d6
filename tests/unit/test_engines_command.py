"""`python -m export.engines` as a person meets it on the wrong machine, or with the wrong words."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

import pytest
from facestream.avatar.bundle import BundleError
from facestream.server import ServerError

from export.engines import __main__ as command
from export.engines import target, typed_networks
from export.engines.__main__ import main
from export.engines.refusal import Refusal
from export.engines.typed_networks import make_typed
from export.ensembles import REPOSITORY
from export.network_files import sha256, typing_digest
from export.recording import RecordingError

CPU = ["--runtime", "onnxruntime-cpu"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*CPU, "--models", "nowhere"], "--models nowhere is not a folder"),
        ([*CPU, "--frames", "0"], "--frames is 0"),
        ([*CPU, "--instances", "-1"], "--instances is -1"),
        ([*CPU, "--max-sessions", "0"], "--max-sessions is 0: expected 1 or more"),
        ([*CPU, "--precision", "fp12"], "--precision is 'fp12'"),
    ],
)
def test_wrong_words_are_refused_by_name(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    told = capsys.readouterr().err
    assert says in told
    assert "-> " in told


def test_a_container_with_a_wrong_setting_is_told_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACESTREAM_RUNTIME", "tensorflow")
    assert main([]) == 1
    assert "FACESTREAM_RUNTIME is 'tensorflow'" in capsys.readouterr().err
    monkeypatch.setenv("FACESTREAM_MAX_SESSIONS", "many")
    assert main(CPU) == 1
    assert "FACESTREAM_MAX_SESSIONS is 'many'" in capsys.readouterr().err


def test_where_nothing_is_to_be_built_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACESTREAM_RUNTIME", "onnxruntime")
    assert main([]) == 0
    assert "nothing is to be built" in capsys.readouterr().out


def test_without_a_driver_nothing_is_begun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(target, "_open", lambda libraries, names: None)
    assert main(["--out", str(tmp_path / "out"), "--runtime", "tensorrt"]) == 1
    assert "no NVIDIA driver" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "says", "mend"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/engines/x.plan"), "No space left on device", "df "),
        (PermissionError(errno.EACCES, "Permission denied", "/engines/typed"), "/engines/typed", "user 1000"),
        (OSError(errno.EIO, "Input/output error", "/engines"), "Input/output error", "disk"),
        (RecordingError("avatar is 'nia', expected one of x: none"), "avatar is 'nia'", "whole clone"),
        (BundleError("nia.avatar is broken"), "nia.avatar is broken", "whole clone"),
        (ServerError("no python3"), "does not start: no python3", "doctor"),
    ],
)
def test_what_goes_wrong_on_the_way_is_told_with_what_mends_it(
    error: Exception, says: str, mend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk after minutes of building must not end in a page of our own source."""

    def fail(*words: object, **names: object) -> None:
        raise error

    monkeypatch.setattr(command, "current_recording", fail)
    assert main([*CPU]) == 1
    told = capsys.readouterr().err
    assert told.startswith("refused: ")
    assert says in told
    assert mend in told.partition("-> ")[2]


def test_a_build_that_a_person_breaks_off_says_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*words: object, **names: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "current_recording", interrupt)
    assert main([*CPU]) == 130
    assert "the last build stays" in capsys.readouterr().err


# --- typed files ------------------------------------------------------------------------------------------------


def test_single_precision_needs_no_typed_file(tmp_path: Path) -> None:
    files = typed_networks.typed_networks(tmp_path, REPOSITORY, {"renderer": "fp32"})
    assert files == {"renderer": REPOSITORY / "renderer" / "1" / "model.onnx"}


def test_a_typed_file_is_made_where_missing_and_again_where_its_network_or_its_maker_changed(tmp_path: Path) -> None:
    """The volume outlives updates: a mended choice of what is in half precision must reach the card."""
    made: list[str] = []
    models = tmp_path / "models"
    source = models / "expression" / "1" / "model.onnx"
    source.parent.mkdir(parents=True)
    source.write_text("a network")

    def make(stage: str, typed: Path, repository: Path) -> None:
        made.append(stage)
        (typed / stage).mkdir(parents=True, exist_ok=True)
        (typed / stage / "fp16.onnx").write_text("typed")
        digest = sha256(repository / stage / "1" / "model.onnx")
        about = {"onnx_sha256": digest, "typing_sha256": typing_digest()}
        (typed / stage / "fp16.json").write_text(json.dumps(about))

    for _ in range(2):
        files = typed_networks.typed_networks(tmp_path / "typed", models, {"expression": "fp16"}, make)
    assert files["expression"].read_text() == "typed"
    assert made == ["expression"]
    source.write_text("trained anew")
    typed_networks.typed_networks(tmp_path / "typed", models, {"expression": "fp16"}, make)
    assert made == ["expression", "expression"]
    record = tmp_path / "typed" / "expression" / "fp16.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "typing_sha256": "of last month"}))
    typed_networks.typed_networks(tmp_path / "typed", models, {"expression": "fp16"}, make)
    assert made == ["expression"] * 3


def test_a_typed_file_that_nobody_makes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"int8\.onnx was not made"):
        typed_networks.typed_networks(tmp_path, REPOSITORY, {"expression": "int8"}, lambda *words: None)
    with pytest.raises(Refusal, match=r"model\.onnx is missing"):
        typed_networks.typed_networks(tmp_path, tmp_path, {"expression": "fp16"})


def test_where_typed_files_cannot_be_made_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "export.precision.variants", None)
    with pytest.raises(Refusal, match="is not installed") as refused:
        make_typed("expression", tmp_path, REPOSITORY)
    assert "'.[precision]'" in refused.value.remedy
