"""The training of the speech networks, on a corpus of a few invented seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra [export]")

from torch import Tensor  # noqa: E402

from export.speech.corpus.recorded import recorded_shards  # noqa: E402
from export.speech.corpus.revoiced import REVOICED  # noqa: E402
from export.speech.corpus.shard import Utterance, save_shard  # noqa: E402
from export.speech.evaluate import faces_of  # noqa: E402
from export.speech.expression import LOGITS, LOOKAHEADS, SHUTTER, TEMPORAL  # noqa: E402
from export.speech.features import load_corpus  # noqa: E402
from export.speech.loss import (  # noqa: E402
    LEAD_STEPS,
    MISSED,
    led,
    lips_loss,
    missed_weights,
    shown_loss,
    uncorrelated,
    weight_of,
)
from export.speech.networks import Networks  # noqa: E402
from export.speech.passages import (  # noqa: E402
    BATCH,
    PASSAGE,
    RECORDED_GROUPS,
    RECORDED_SHARE,
    SILENCE,
    TWINS,
    Passages,
    voice_weights,
)
from export.speech.phonemes import VISEMES  # noqa: E402
from export.speech.tcn import ChannelBlock  # noqa: E402
from export.speech.train import fit, mean_of, train, trained  # noqa: E402


def utterances(seed: int, phonemes: list[str]) -> list[Utterance]:
    """Noise with a made-up phoneme every tenth of a second."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(6):
        audio = (rng.standard_normal(3 * 24_000) * 0.05).astype(np.float32)
        made.append(Utterance(audio, [(phonemes[i % len(phonemes)], i / 10, (i + 1) / 10) for i in range(30)]))
    return made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech") / "corpus"
    folder.mkdir()
    save_shard(folder / "flite_one.npz", utterances(1, ["m", "aa", "s"]), "arpabet", 1e9)
    save_shard(folder / "espeak_two.npz", utterances(2, ["p", "iy"]), "arpabet", 1e9)
    save_shard(folder / "negatives.npz", utterances(3, ["pau"]), "arpabet", 1e9)
    return folder


def test_features_are_kept_for_each_shard(corpus: Path) -> None:
    """Computing hours of spectrograms anew for one more voice would cost minutes at each start."""
    first = load_corpus(corpus)
    (kept,) = corpus.with_suffix(".features").glob("*/flite_one.pt")
    stamp = kept.stat().st_mtime_ns
    again = load_corpus(corpus)
    assert kept.stat().st_mtime_ns == stamp
    for voice, other in zip(first, again, strict=True):
        assert voice.name == other.name
        assert torch.equal(voice.log_power, other.log_power)


def test_no_corpus_says_which_command_makes_one(tmp_path: Path) -> None:
    """A traceback about an empty list would help nobody."""
    with pytest.raises(FileNotFoundError, match=r"export\.speech\.corpus"):
        load_corpus(tmp_path)


def test_batches_repeat_with_their_seed_and_hold_still_passages(corpus: Path) -> None:
    """Rooms and music must ask for a still mouth, or the mouth learns to move to them."""
    voices = load_corpus(corpus)
    batch = Passages(voices, torch.Generator().manual_seed(7)).batch()
    again = Passages(voices, torch.Generator().manual_seed(7)).batch()
    for one, other in ((batch.mel, again.mel), (batch.lips, again.lips), (batch.visemes, again.visemes)):
        assert torch.equal(one, other)
    assert batch.mel.shape == (BATCH, 64, PASSAGE)
    assert batch.lips.shape == (BATCH, 4, PASSAGE // 2)
    assert torch.isfinite(batch.mel).all()
    assert batch.lips[:2].abs().max() == 0
    assert (batch.visemes[:2] == SILENCE).all()
    assert batch.lips[2:].abs().max() > 0.5


def test_people_get_their_share_of_the_passages_where_there_are_any(corpus: Path) -> None:
    """Whoever could fetch one source alone must still train on people as often as the recipe says."""
    synthetic = [voice for voice in load_corpus(corpus) if not voice.name.startswith("negatives")]
    without = voice_weights(synthetic)
    assert float(without.sum()) == pytest.approx(1.0)
    for groups in (["steel_sky"], ["drascula", "fillets", "revoiced"]):
        people = [replace(voice, name=f"recorded_{group}_{voice.name}") for group in groups for voice in synthetic]
        weights = voice_weights([*synthetic, *people])
        torch.testing.assert_close(weights[: len(synthetic)], (1 - RECORDED_SHARE) * without)
        assert float(weights[len(synthetic) :].sum()) == pytest.approx(RECORDED_SHARE)


def test_every_shard_of_people_is_in_a_group() -> None:
    """A shard of people's speech that no group names would be fetched, aligned and never be heard."""
    named = [shard.name for shard in recorded_shards()]
    assert len(named) > 10
    assert [name for name in [*named, REVOICED] if not name.startswith(tuple(RECORDED_GROUPS))] == []


def test_a_new_channel_block_sees_one_step_alone() -> None:
    """The window that the server sends is as long as the past of an answer: a block must not make that longer."""
    block = ChannelBlock(8).eval()
    x = torch.randn(1, 8, 20, generator=torch.Generator().manual_seed(3))
    changed = x.clone()
    changed[:, :, :9] += 1.0
    changed[:, :, 10:] += 1.0
    before, behind = block(x), block(changed)
    assert torch.equal(before[:, :, 9], behind[:, :, 9])
    assert not torch.equal(before[:, :, 8], behind[:, :, 8])


def test_a_voice_too_short_for_a_passage_is_not_drawn(corpus: Path) -> None:
    """One word by one volunteer must not end hours of training with a range that is empty."""
    voices = load_corpus(corpus)
    short = replace(
        voices[0],
        name="recorded_drascula_word",
        log_power=voices[0].log_power[:, :120],
        lips=voices[0].lips[:, :60],
        visemes=voices[0].visemes[:60],
    )
    passages = Passages([*voices, short], torch.Generator().manual_seed(1))
    assert "recorded_drascula_word" not in [voice.name for voice in passages.voices]
    passages.batch()


def test_the_correlation_in_the_loss_sees_shape_and_not_scale() -> None:
    """It is there for what a judge of r sees; in silence, where r means nothing, it must not speak."""
    wanted = torch.rand(3, 50, generator=torch.Generator().manual_seed(2))
    assert float(uncorrelated(0.3 * wanted + 0.1, wanted)) == pytest.approx(0.0, abs=1e-2)
    assert float(uncorrelated(-wanted, wanted)) == pytest.approx(2.0, abs=1e-2)
    wanted[1:] = 0
    assert float(uncorrelated(-wanted, wanted)) == pytest.approx(2.0, abs=1e-2)
    assert float(uncorrelated(torch.rand(3, 50), torch.zeros(3, 50))) == 0.0


def test_answers_are_ahead_of_their_frames_by_the_lead_alone() -> None:
    """Half a frame too far would be lips that move before the sound, which viewers forgive least."""
    ramp = torch.arange(40.0)[None, None]  # each step's value is its own place
    for lookahead in LOOKAHEADS:
        torch.testing.assert_close(led(ramp, lookahead, 12)[0, 0], torch.arange(12.0, 40.0) - lookahead + LEAD_STEPS)
    # The shutter's last instant may lie behind all that is known: it is taken to be as the last step.
    wanted = torch.cat([torch.arange(12.0, 39.0) + LEAD_STEPS, torch.tensor([39.0])])
    torch.testing.assert_close(led(ramp, 0, 12)[0, 0], wanted)


def test_loss_holds_each_head_to_its_own_instant() -> None:
    """A look-ahead trained one step off comes out as lips 17 ms out of step, in no way visible in the loss."""
    steps, past = 60, 20
    generator = torch.Generator().manual_seed(1)
    lips = torch.rand(2, 4, steps, generator=generator)
    visemes = torch.randint(0, 15, (2, steps), generator=generator)
    one_hot = torch.nn.functional.one_hot(visemes, 15).float().transpose(1, 2) * 20
    perfect = []
    for lookahead in LOOKAHEADS:
        answer = torch.zeros(2, len(SHUTTER), LOGITS, steps)
        for instant in range(len(SHUTTER)):
            ago = lookahead + 1 - instant
            at = led(lips, ago, past)
            answer[:, instant, :2, past:] = at[:, :2]
            answer[:, instant, 2:4, past:] = torch.logit(at[:, 2:], eps=1e-4)
            nearest = (torch.arange(past, steps) - ago + round(LEAD_STEPS)).clamp(max=steps - 1)
            answer[:, instant, 4:19, past:] = one_hot[:, :, nearest]
        perfect.append(answer)
    best = lips_loss(perfect, lips, visemes, past)
    for head in range(len(LOOKAHEADS)):
        for instant in range(len(SHUTTER)):
            shifted = [answer.clone() for answer in perfect]
            shifted[head][:, instant] = shifted[head][:, instant].roll(1, 2)
            assert lips_loss(shifted, lips, visemes, past) > best + weight_of(head) / len(SHUTTER)


def test_the_answer_for_noise_is_asked_for_where_somebody_speaks() -> None:
    """In an empty room there is no speech that noise could lie over: any answer is right."""
    lips, visemes = torch.rand(2, 4, 60), torch.zeros(2, 60, dtype=torch.long)
    visemes[0, 30:40] = VISEMES.index("aa")
    logits = [torch.zeros(2, len(SHUTTER), LOGITS, 40) for _ in LOOKAHEADS]
    loud = torch.tensor([1.0, 1.0])
    even = lips_loss(logits, lips, visemes, 20, loud)
    for passage, wrong in ((0, True), (1, False)):
        sure = [one.clone() for one in logits]
        for one in sure:
            one[passage, :, -1] = -9.0
        # The gates' share of the loss stands apart: closures are as unlikely with noise as without.
        apart = float(lips_loss(sure, lips, visemes, 20, loud) - even)
        assert (apart > 0.1) is wrong


def test_twins_are_one_passage_at_two_levels(corpus: Path) -> None:
    """The loss asks both for one answer: were they two passages, it would teach the mean of two mouths."""
    batch = Passages(load_corpus(corpus), torch.Generator().manual_seed(7)).batch()
    assert batch.twins == TWINS
    one, other = slice(BATCH - 2 * TWINS, BATCH - TWINS), slice(BATCH - TWINS, BATCH)
    assert torch.equal(batch.lips[one], batch.lips[other])
    assert torch.equal(batch.visemes[one], batch.visemes[other])
    apart = torch.exp(batch.mel[one].double()) - torch.exp(batch.mel[other].double())
    assert (apart.abs().amax((1, 2)) > 0).all()


def test_an_answer_that_follows_the_level_costs() -> None:
    """Without this, quiet speakers get small mouths."""
    lips, visemes = torch.rand(4, 4, 60), torch.zeros(4, 60, dtype=torch.long)
    lips[2:] = lips[:2]
    logits = [torch.zeros(4, len(SHUTTER), LOGITS, 40) for _ in LOOKAHEADS]
    same = lips_loss(logits, lips, visemes, 20, twins=2) - lips_loss(logits, lips, visemes, 20)
    assert float(same) == 0
    logits[2][2:, :, 0] = 0.1
    apart = lips_loss(logits, lips, visemes, 20, twins=2) - lips_loss(logits, lips, visemes, 20)
    assert float(apart) > 0.1


def test_a_missed_closure_weighs_less_in_noise() -> None:
    """In noise p and t sound alike: lips that shut for both stammer."""
    weights = missed_weights(torch.tensor([0.0, 10**-1.75, 1.0]))
    assert weights[:, 1, 0].tolist() == [1.0, 1.0, 1.0]
    assert weights[0, 0, 0] == MISSED[0]
    assert MISSED[1] < weights[1, 0, 0] < MISSED[0]
    assert weights[2, 0, 0] == MISSED[1]


def test_a_closure_that_is_shown_where_none_is_wanted_costs() -> None:
    """Regression alone does not see what the gates do to it."""
    gap = 0.4 + 0.2 * torch.sin(torch.arange(60.0))[None]
    output = torch.zeros(1, len(SHUTTER), LOGITS, 60)
    output[:, :, 0] = gap
    output[:, :, 2:4] = -9
    classes = torch.full((1, 60), 10)
    output[:, :, 4 + 10] = 9
    right = shown_loss(output, gap, classes)
    output[:, :, 2, 20:24] = 9
    output[:, :, 4 + VISEMES.index("PP"), 20:24] = 18
    assert shown_loss(output, gap, classes) > right + 0.03


@pytest.mark.parametrize("temporal", TEMPORAL)
def test_training_goes_on_where_it_was_stopped(corpus: Path, tmp_path: Path, temporal: str) -> None:
    """Hours of training on two cores will be interrupted; what comes after must not depend on when."""
    settings: dict[str, Any] = {"temporal": temporal, "steps": 4, "rate": 1e-3, "seed": 3}
    torch.set_num_threads(1)
    whole = train(corpus, tmp_path / "whole.pt", save_every=4, **settings)

    # Two steps of the four, as train takes them, then a new process.
    voices = load_corpus(corpus)
    torch.manual_seed(3)
    generator = torch.Generator().manual_seed(3)
    networks = Networks(temporal)
    passages = Passages(voices, generator)
    left = iter(range(2))

    def loss() -> Tensor:
        next(left)  # the third step never comes
        return networks.loss(passages.batch())

    about = {"temporal": temporal, "steps": 4, "seed": 3}
    with pytest.raises(StopIteration):
        fit(networks, loss, lambda _: "", generator, tmp_path / "p.pt", steps=4, rate=1e-3, save_every=2, about=about)
    resumed = train(corpus, tmp_path / "p.pt", save_every=4, **settings)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_checkpoint_of_another_model_is_refused(corpus: Path, tmp_path: Path) -> None:
    """Going on from the wrong file would mix two courses, or fail with a page of shapes."""
    train(corpus, tmp_path / "one.pt", temporal="tcn", steps=1, rate=1e-3, seed=3)
    with pytest.raises(ValueError, match="transformer"):
        train(corpus, tmp_path / "one.pt", temporal="transformer", steps=1, rate=1e-3, seed=3)


def test_a_second_course_begins_with_the_averages_of_the_first(corpus: Path, tmp_path: Path) -> None:
    """The shipped weights are made in two courses: a second that began anew would throw the first one away."""
    first = train(corpus, tmp_path / "one.pt", temporal="tcn", steps=1, rate=1e-3, seed=3)
    second = train(corpus, tmp_path / "two.pt", temporal="tcn", steps=1, rate=1e-9, seed=4, start=tmp_path / "one.pt")
    for (name, one), two in zip(first.named_parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=0, msg=name)
    with pytest.raises(ValueError, match="expected a transformer"):
        train(corpus, tmp_path / "3.pt", temporal="transformer", steps=1, rate=1e-3, seed=3, start=tmp_path / "one.pt")


def test_the_mean_lies_between_both_courses(corpus: Path, tmp_path: Path) -> None:
    """The shipped weights are a mean: one of unequal parts, or of two models, would be another network."""
    one, two, both = tmp_path / "one.pt", tmp_path / "two.pt", tmp_path / "both.pt"
    train(corpus, one, temporal="tcn", steps=1, rate=1e-2, seed=3)
    train(corpus, two, temporal="tcn", steps=1, rate=1e-2, seed=4, start=one)
    mean_of(one, two, both)
    for name, value in trained(both).state_dict().items():
        if value.is_floating_point():
            wanted = (trained(one).state_dict()[name] + trained(two).state_dict()[name]) / 2
            torch.testing.assert_close(value, wanted, msg=name)
    train(corpus, tmp_path / "3.pt", temporal="transformer", steps=1, rate=1e-2, seed=3)
    with pytest.raises(ValueError, match="two courses of one model"):
        mean_of(one, tmp_path / "3.pt", both)
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        mean_of(one, tmp_path / "none.pt", both)


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    """Whoever exports before training must learn the order."""
    with pytest.raises(FileNotFoundError, match=r"export\.speech\.train"):
        trained(tmp_path / "none.pt")


@pytest.mark.parametrize("lookahead", [0, 2, 3])
def test_whole_recordings_give_the_faces_of_their_windows(lookahead: int) -> None:
    """Choices are made by faces of whole recordings; the server shows those of windows."""
    torch.manual_seed(0)
    networks = Networks().eval()
    audio = np.random.default_rng(0).standard_normal(12 * 800 + 300).astype(np.float32) * 0.1
    got = faces_of(networks, lookahead)(audio)
    assert got.shape == (12, 52)
    networks.expression.lookahead = lookahead
    stream = np.concatenate([np.zeros(15_600, np.float32), audio, np.zeros(8000, np.float32)])
    for frame in (0, 5, 11):
        window = stream[(frame + lookahead) * 800 :][:16_400].copy()
        if frame + lookahead > 11:  # the flush begins where the last whole request ends, or with what is left of it
            window = stream[(frame + lookahead) * 800 :][:16_400]
        with torch.inference_mode():
            face = networks.expression(networks.encoder(torch.from_numpy(window)[None]))[0][0]
        np.testing.assert_allclose(got[frame], face.numpy(), atol=1e-4)
