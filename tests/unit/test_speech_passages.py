"""Whose passages are trained on: a voice that is never drawn is never missed, either."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra [export]")

from export.speech.augment import BACKGROUND_EVERY  # noqa: E402
from export.speech.features import Voice  # noqa: E402
from export.speech.passages import BATCH, TWINS, Passages, voice_weights  # noqa: E402


def voice(name: str, steps: int = 400) -> Voice:
    return Voice(name, torch.zeros(64, 2 * steps), torch.zeros(4, steps), torch.zeros(steps, dtype=torch.long))


def test_a_voice_of_no_group_is_named() -> None:
    """A user's own shard beside the others had a weight of 0: hours of training never heard it, and nobody said so."""
    assert float(voice_weights([voice("flite_slt"), voice("recorded_drascula_igor")]).sum()) == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"the voices mine_one, recorded_mine are of no group, expected one of flite"):
        voice_weights([voice("flite_slt"), voice("mine_one"), voice("recorded_mine")])


def test_a_corpus_without_a_voice_is_told() -> None:
    """With music alone, or voices all too short, torch spoke of a distribution that does not sum."""
    with pytest.raises(ValueError, match="there is no voice to train on"):
        Passages([voice("negatives"), voice("flite_slt", 100)], torch.Generator())


def test_a_sound_too_short_for_a_passage_is_not_drawn() -> None:
    """One short piece of music ended the training with an empty range, whenever it happened to be drawn."""
    passages = Passages([voice("flite_slt"), voice("negatives"), voice("negatives_music", 60)], torch.Generator())
    assert [negative.name for negative in passages.negatives] == ["negatives"]
    passages.batch()


def test_twins_are_levelled_once_and_not_all_have_a_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Levelled twice, twins were outside of what is ever heard; all with music, they taught nothing of clean speech."""
    passages = Passages([voice("flite_slt"), voice("negatives")], torch.Generator().manual_seed(3))
    monkeypatch.setattr(passages.augment, "at_any_level", lambda power: power)
    mel = passages.batch().mel
    assert torch.equal(mel[-2 * TWINS : -TWINS], mel[-TWINS:])
    still = torch.ones(BATCH, 64, 8)
    under = passages.augment._add_background(still, torch.ones(BATCH // BACKGROUND_EVERY, 64, 8)) > still
    has = under.flatten(1).all(1)
    assert int(has.sum()) == BATCH // BACKGROUND_EVERY
    assert 0 < int(has[-TWINS:].sum()) < TWINS
