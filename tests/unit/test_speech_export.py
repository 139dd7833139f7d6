"""Writing the speech stages into a model repository: what is served must be whole, checked and truly named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.contract import EMBEDDING_SIZE

torch = pytest.importorskip("torch", reason="torch is in the extra [export]")

from export.speech import export  # noqa: E402
from export.speech.configuration import STAGES, fit_configurations  # noqa: E402

ROOT = Path(__file__).parents[2]
CLONE = ROOT / "model_repository"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model repository of configurations, with an old network in each speech stage."""
    monkeypatch.chdir(ROOT)
    made = tmp_path / "models"
    for config in CLONE.glob("*/config.pbtxt"):
        (made / config.parent.name).mkdir(parents=True)
        shutil.copy(config, made / config.parent.name)
    for stage in STAGES:
        (made / stage / "1").mkdir()
        (made / stage / "1" / "model.onnx").write_text("old")
    return made


def files(repository: Path) -> dict[str, str]:
    """What the speech stages hold."""
    return {
        str(path.relative_to(repository)): path.read_text()
        for stage in STAGES
        for path in (repository / stage).rglob("*")
        if path.is_file()
    }


def still(windows: Any) -> Any:
    """An encoder that says nothing."""
    return torch.zeros(len(windows), 40, EMBEDDING_SIZE)


STILL: Any = still


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Have the exporter write words in place of networks, which differ from torch by so much."""

    def differ(by: float) -> None:
        def write(network: Any, example: Any, inputs: list[str], outputs: list[str], path: Path) -> None:
            path.write_text("new")
            outputs_of[path] = outputs

        outputs_of: dict[Path, list[str]] = {}
        monkeypatch.setattr(export, "write_onnx", write)
        monkeypatch.setattr(export, "largest_difference", lambda path, *_: dict.fromkeys(outputs_of[path], by))

    return differ


def test_networks_that_do_as_torch_does_take_the_place_of_the_old_ones(
    repository: Path, written: Callable[[float], None]
) -> None:
    """A file left beside the network would be copied, shipped and wondered about."""
    written(1e-6)
    before = files(repository)
    assert export.export_stages(STILL, STILL, EMBEDDING_SIZE, repository, "the small encoder")
    assert files(repository) == before | {f"{stage}/1/model.onnx": "new" for stage in STAGES}


@pytest.mark.parametrize("difference", [0.1, np.nan])
def test_networks_that_do_not_leave_the_repository_as_it_was(
    repository: Path, written: Callable[[float], None], difference: float
) -> None:
    """The command failed and said so, after it had put what failed in the place of what served."""
    written(difference)
    before = files(repository)
    assert not export.export_stages(STILL, STILL, 2 * EMBEDDING_SIZE, repository, "another encoder")
    assert files(repository) == before


def test_an_export_that_breaks_off_leaves_the_repository_as_it_was(
    repository: Path, written: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stage of today beside one of yesterday is a mouth that nobody trained."""
    written(1e-6)
    write = export.write_onnx

    def full(network: Any, example: Any, inputs: list[str], outputs: list[str], path: Path) -> None:
        if "VISEME" in outputs:
            path.write_text("half")
            raise OSError("no space left")
        write(network, example, inputs, outputs, path)

    monkeypatch.setattr(export, "write_onnx", full)
    before = files(repository)
    with pytest.raises(OSError, match="no space left"):
        export.export_stages(STILL, STILL, EMBEDDING_SIZE, repository, "the small encoder")
    assert files(repository) == before


def test_a_folder_that_is_no_repository_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of the clone the export made a folder of one network and then failed on what lay beside it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"model_repository/speech_encoder/config\.pbtxt is missing"):
        export.export_stages(STILL, STILL, EMBEDDING_SIZE, export.REPOSITORY, "the small encoder")
    assert not list(tmp_path.iterdir())


def test_a_configuration_names_the_encoder_that_it_serves(repository: Path) -> None:
    """Two layers of one checkpoint have embeddings of one width: the first one's name stayed over the second's."""
    before = files(repository)
    fit_configurations(repository, EMBEDDING_SIZE, "the small encoder")
    assert files(repository) == before  # comments and all
    for title in ("hubert, cut at layer 6", "hubert, cut at layer 8"):
        fit_configurations(repository, 768, title)
        for stage in STAGES:
            head = (repository / stage / "config.pbtxt").read_text().splitlines()[0]
            assert head == f"# Made for {title}, by `python -m export.speech.export`."


def test_stages_that_no_longer_fit_together_are_not_configured(repository: Path) -> None:
    """A repository that no server loads any more is worse than one of yesterday's encoder."""
    (repository / "compositor" / "config.pbtxt").unlink()
    before = files(repository)
    with pytest.raises(ValueError, match="FRAME"):
        fit_configurations(repository, 768, "hubert, cut at layer 6")
    assert files(repository) == before


def test_a_copy_that_breaks_off_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a repository was taken for a whole one by the next run, and served without its last stages."""
    clone, copy = tmp_path / "model_repository", tmp_path / "build" / "copy"
    for stage in (*STAGES, "motion"):
        (clone / stage).mkdir(parents=True)
        (clone / stage / "config.pbtxt").write_text(stage)
    monkeypatch.setattr(export, "REPOSITORY", clone)

    def broken(source: Path, target: Path, **_: Any) -> None:
        target.mkdir(parents=True)
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copytree", broken)
        with pytest.raises(OSError, match="no space left"):
            export.copy_repository(copy)
    assert not copy.exists()
    export.copy_repository(copy)
    assert sorted(path.name for path in copy.iterdir()) == sorted((*STAGES, "motion"))
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]
    (copy / "motion" / "config.pbtxt").write_text("the user's own")
    export.copy_repository(copy)
    assert (copy / "motion" / "config.pbtxt").read_text() == "the user's own"
    assert "stay as they are" in capsys.readouterr().out


def test_a_pretrained_encoder_never_takes_the_place_of_the_small_one(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both commands that export one refuse, before hours of training and after them."""
    assert export.copied_repository(repository) == repository
    assert export.copied_repository(None) == export.COPIED_REPOSITORY
    monkeypatch.setattr(export, "REPOSITORY", repository)
    with pytest.raises(ValueError, match="keeps the small encoder"):
        export.copied_repository(repository)
    (repository / "expression" / "config.pbtxt").unlink()
    with pytest.raises(FileNotFoundError, match=r"expression/config\.pbtxt is missing"):
        export.copied_repository(repository.parent / "new")


def test_an_encoder_of_more_weights_than_a_file_holds_is_refused() -> None:
    """An ONNX file ends at 2 GiB: the exporter would fail after the training, with a word of protobuf's."""
    with torch.device("meta"):
        large, small = torch.nn.Linear(30_000, 20_000), torch.nn.Linear(30, 20)
    with pytest.raises(ValueError, match=r"--layer is 12, which makes a file of 2\.4 GB"):
        export.check_size(large, 12)
    export.check_size(small, 12)
