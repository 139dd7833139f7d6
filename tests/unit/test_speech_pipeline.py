"""`python -m export.speech`, its choice between the temporal models, and the optimiser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra [export]")

from export.speech import __main__ as pipeline  # noqa: E402
from export.speech import evaluate as judging  # noqa: E402
from export.speech.evaluate import merit  # noqa: E402
from export.speech.muon import Muon, optimisers, orthogonal  # noqa: E402

ROOT = Path(__file__).parents[2]


def row(checkpoint: str, lookahead: int, r: float, closed: float, vowels: float) -> dict[str, Any]:
    return {
        "checkpoint": checkpoint,
        "lookahead_frames": lookahead,
        "lip_gap_r": r,
        "pbm_closed": closed,
        "open_vowels_closed": vowels,
    }


def test_merit_counts_clean_and_noise_at_the_served_look_ahead_alone() -> None:
    """A model that shines with more look-ahead than is served would be shipped for it."""
    rows = [row("tcn", 2, 0.9, 1.0, 0.1), row("tcn", 2, 0.7, 0.8, 0.0), row("tcn", 3, 0.0, 0.0, 1.0)]
    assert merit(rows, "tcn", 2) == pytest.approx((1.8 + 1.5) / 2)


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16)])
def test_orthogonal_keeps_directions_and_levels_their_strengths(shape: tuple[int, int]) -> None:
    """Newton-Schulz diverges to NaN when its scale is lost, hours into a training."""
    torch.manual_seed(0)
    matrix = torch.randn(shape) * 1e-4
    strengths = torch.linalg.svdvals(orthogonal(matrix))
    assert strengths.min() > 0.4
    assert strengths.max() < 1.4
    assert (orthogonal(matrix) * matrix).sum() > 0


def test_every_parameter_has_one_optimiser() -> None:
    """A parameter that is in none stays as it was drawn, and nothing tells."""
    network = torch.nn.Sequential(torch.nn.Conv1d(4, 4, 3), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 4))
    made = optimisers(network, 1e-2)
    listed = [p for optimiser in made for group in optimiser.param_groups for p in group["params"]]
    assert {id(p) for p in listed} == {id(p) for p in network.parameters()}
    assert len(listed) == len(list(network.parameters()))
    muon = next(optimiser for optimiser in made if isinstance(optimiser, Muon))
    assert all(p.ndim >= 2 for group in muon.param_groups for p in group["params"])


@pytest.mark.parametrize("people", [True, False])
def test_one_command_trains_both_judges_both_and_exports_the_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, people: bool
) -> None:
    """The order of the stages and the file names between them: a slip shows after hours."""
    trained: list[str] = []
    exported: list[str] = []
    shards = tmp_path / "corpus"
    shards.mkdir()
    (shards / "flite_slt.npz").touch()
    if people:
        (shards / "recorded_somebody.npz").touch()

    class Networks:
        encoder = expression = None

    def train(
        corpus: Path,
        checkpoint: Path,
        *,
        temporal: str,
        steps: int,
        recorded: bool,
        start: Path | None = None,
        gentle: bool = False,
        **_: Any,
    ) -> None:
        assert corpus == shards
        assert recorded == ("recorded" in checkpoint.stem)
        assert gentle == ("gentle" in checkpoint.stem)
        assert 0 < steps <= 20_000
        trained.append(f"{checkpoint.stem} from {start.stem}" if start else checkpoint.stem)
        checkpoint.write_text(temporal)

    def evaluate(checkpoints: list[Path], clips: list[Any]) -> list[dict[str, Any]]:
        assert clips == ["clip"]
        return [row(c.stem, 2, 0.9 if c.read_text() == "transformer" else 0.8, 1.0, 0.0) for c in checkpoints]

    def chosen(checkpoint: Path) -> Networks:
        exported.append(checkpoint.stem)
        return Networks()

    def export_stages(encoder: object, expression: object, size: int, repository: Path, title: str) -> bool:
        exported.append(title)
        return True

    monkeypatch.setattr("export.speech.corpus.__main__.main", lambda arguments: 0)
    monkeypatch.setattr(pipeline, "train", train)
    monkeypatch.setattr(pipeline, "mean_of", lambda first, second, mean: mean.write_text(first.read_text()))
    monkeypatch.setattr(pipeline, "recordings", lambda clips, work: ["clip"])
    monkeypatch.setattr(pipeline, "check_places", lambda repository: None)
    monkeypatch.setattr(pipeline, "evaluate", evaluate)
    monkeypatch.setattr(pipeline, "trained", chosen)
    monkeypatch.setattr(pipeline, "export_stages", export_stages)
    threads = torch.get_num_threads()
    assert pipeline.main(["--work", str(tmp_path), "--repository", str(tmp_path)]) == 0
    torch.set_num_threads(threads)
    synthetic = ["tcn", "tcn-gentle from tcn", "transformer", "transformer-gentle from transformer"]
    with_people = [
        "transformer-recorded from transformer-mean",
        "transformer-recorded-gentle from transformer-recorded",
    ]
    assert trained == synthetic + (with_people if people else [])
    assert len(json.loads((tmp_path / "models.json").read_text())) == 6
    assert (tmp_path / "evaluation.json").exists() == people
    assert exported[0] == ("transformer-recorded-mean" if people else "transformer-mean")
    assert "transformer" in exported[1]
    assert len(exported) == 2


def test_a_machine_without_synthesisers_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training on what an earlier run happened to leave would give weights that nobody can make again."""
    monkeypatch.setattr("export.speech.corpus.__main__.main", lambda arguments: 1)
    monkeypatch.setattr(pipeline, "train", lambda *a, **k: pytest.fail("trained without a corpus"))
    monkeypatch.setattr(pipeline, "recordings", lambda clips, work: ["clip"])
    monkeypatch.setattr(pipeline, "check_places", lambda repository: None)
    assert pipeline.main(["--work", str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--repository", "nowhere"], "nowhere/speech_encoder/config.pbtxt is missing"),
        (["--clips", "nowhere"], "nowhere"),
        (["--clips", "tests/unit"], "expected a folder with NAME.wav beside NAME.txt"),
        (["--steps", "1"], "--steps is 1, expected at least 2"),
        (["--encoder", "nowhere", "--layer", "3"], "nowhere is no folder"),
        (["--encoder", "nowhere", "--layer", "3", "--repository", "model_repository"], "keeps the small encoder"),
        (["--encoder", "nowhere", "--layer", "3", "--steps", "0"], "--steps is 0, expected at least 1"),
        (["--encoder", "nowhere", "--layer", "3", "--clips", "tests/data"], "--clips goes with our own encoder"),
    ],
)
def test_what_would_end_the_command_after_hours_is_refused_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    """A folder that is not there was found after the corpus, one that is no model repository after the training."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("export.speech.corpus.__main__.main", lambda arguments: pytest.fail("began"))
    with pytest.raises(SystemExit):
        pipeline.main(["--work", str(tmp_path), "--recordings", str(tmp_path), *arguments])
    assert said in capsys.readouterr().err


def test_a_judge_without_recordings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without a network nothing was fetched, and the choice failed after both models were trained."""
    monkeypatch.setattr("perf.lip_sync.default_sets", lambda work: {})
    with pytest.raises(ValueError, match=r"none of the recordings in .* can be judged by"):
        judging.recordings(None, tmp_path)


def test_a_missing_checkpoint_is_told_before_anything_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip in the last of three names cost the minutes of the first two, whose rows were lost with it."""
    monkeypatch.setattr(judging, "recordings", lambda clips, work: pytest.fail("fetched"))
    (tmp_path / "one.pt").touch()
    with pytest.raises(SystemExit):
        judging.main([str(tmp_path / "one.pt"), str(tmp_path / "too.pt")])
    assert f"CHECKPOINT {tmp_path / 'too.pt'} is no file" in capsys.readouterr().err
    monkeypatch.setattr(judging, "trained", lambda path: path.read_bytes())
    monkeypatch.setattr("perf.lip_sync.judge", lambda heard, faces: pytest.fail("judged"))
    with pytest.raises(FileNotFoundError, match=r"too\.pt"):
        judging.evaluate([tmp_path / "one.pt", tmp_path / "too.pt"], [])
