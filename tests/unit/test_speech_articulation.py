"""Parts of the speech networks in torch: the spectrogram, causality and the articulation layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from facestream.contract import SAMPLE_RATE, WINDOW_SAMPLES
from facestream.parameters import INDEX

torch = pytest.importorskip("torch", reason="torch is in the extra [export]")

from export.speech.articulation import ArticulationLayer  # noqa: E402
from export.speech.augment import GENTLE, STRONG, Augmenter, Strength  # noqa: E402
from export.speech.encoder import LogMel, SpeechEncoder  # noqa: E402
from export.speech.expression import LOGITS, SHUTTER, TEMPORAL, Expression  # noqa: E402
from export.speech.phonemes import VISEMES  # noqa: E402
from export.speech.transformer import LocalAttention  # noqa: E402

OPENING = [INDEX["jawOpen"], INDEX["mouthFunnel"], INDEX["tongueOut"]]
OPENING += [INDEX[f"mouth{part}{side}"] for part in ("LowerDown", "UpperUp") for side in ("Left", "Right")]


QUIET = torch.zeros(1, 1)
"""Nothing but speech is heard."""


def visemes_of(name: str) -> Any:
    return torch.nn.functional.one_hot(torch.tensor([VISEMES.index(name)]), len(VISEMES)).float()


def test_closed_lips_meet_whatever_else_is_predicted() -> None:
    """The regressed gap rarely reaches 0 on p, b and m: the gate must win over a wide-open prediction."""
    face = ArticulationLayer()(torch.tensor([[0.9, -0.8, 0.7, 0.0]]), visemes_of("PP"), QUIET)
    assert face[0, OPENING].abs().max() == 0
    assert face[0, INDEX["mouthPressLeft"]] > 0.1


def test_a_doubtful_closure_closes_narrow_lips_and_not_wide_ones() -> None:
    """One limit for all either leaves a quarter of p, b, m open or shuts the lips in the middle of a vowel."""
    doubted = 0.8 * visemes_of("DD") + 0.2 * visemes_of("PP")
    narrow, wide = (ArticulationLayer()(torch.tensor([[gap, 0.0, 0.2, 0.0]]), doubted, QUIET) for gap in (0.15, 0.8))
    assert narrow[0, OPENING].abs().max() == 0
    assert wide[0, INDEX["jawOpen"]] > 0.3


def test_in_noise_a_closure_takes_more_to_be_believed() -> None:
    """Under noise p, t and k sound alike: lips that met for each of them would stammer."""
    lips = torch.tensor([[0.25, 0.0, 0.008, 0.0]])
    doubted = 0.95 * visemes_of("DD") + 0.05 * visemes_of("PP")
    quiet, noisy = (ArticulationLayer()(lips, doubted, torch.tensor([[noise]])) for noise in (0.0, 1.0))
    assert quiet[0, OPENING].abs().max() == 0
    assert noisy[0, INDEX["jawOpen"]] > 0.1


def test_a_closure_needs_both_heads() -> None:
    """Where one head alone hears a closure, it is a t or a k as often as a p."""
    face = ArticulationLayer()(torch.tensor([[0.3, 0.0, 0.8, 0.0]]), visemes_of("DD"), QUIET)
    assert face[0, INDEX["jawOpen"]] > 0.1


def test_a_lip_that_is_bitten_is_no_doubtful_closure() -> None:
    """f and v would be shown as p: the lips shut, and no teeth on the lower one."""
    heard = 0.9 * visemes_of("FF") + 0.1 * visemes_of("PP")
    closed, bitten = (ArticulationLayer()(torch.tensor([[0.15, 0.0, 0.004, f]]), heard, QUIET) for f in (0.05, 0.9))
    assert closed[0, OPENING].abs().max() == 0
    assert bitten[0, INDEX["mouthRollLower"]] > 0.5
    assert bitten[0, INDEX["mouthUpperUpLeft"]] > 0.3
    unheard = 0.9 * visemes_of("DD") + 0.1 * visemes_of("PP")  # by the other head
    alone = ArticulationLayer()(torch.tensor([[0.15, 0.0, 0.004, 0.9]]), unheard, QUIET)
    assert alone[0, OPENING].abs().max() == 0
    sure = ArticulationLayer()(torch.tensor([[0.15, 0.0, 0.9, 0.6]]), visemes_of("PP"), QUIET)
    assert sure[0, OPENING].abs().max() == 0  # where they are sure, closing wins as ever


def test_silence_is_exactly_rest() -> None:
    """A rest that is only nearly rest shimmers."""
    face = ArticulationLayer()(torch.tensor([[0.2, 0.4, 0.3, 0.1]]), visemes_of("sil"), QUIET)
    assert face.abs().max() == 0


@pytest.mark.parametrize(
    ("lips", "viseme", "name", "low"),
    [
        ([0.85, 0.0, 0.0, 0.0], "aa", "jawOpen", 0.35),
        ([0.15, -0.9, 0.0, 0.0], "ou", "mouthPucker", 0.4),
        ([0.6, -0.7, 0.0, 0.0], "oh", "mouthFunnel", 0.15),
        ([0.25, 0.7, 0.0, 0.0], "ih", "mouthStretchLeft", 0.15),
        ([0.08, 0.0, 0.0, 0.9], "FF", "mouthRollLower", 0.3),
        ([0.2, 0.0, 0.0, 0.0], "TH", "tongueOut", 0.1),
    ],
)
def test_each_sound_moves_its_own_weights(lips: list[float], viseme: str, name: str, low: float) -> None:
    """A weight wired to the wrong cause gives a mouth that opens but does not speak."""
    face = ArticulationLayer()(torch.tensor([lips]), visemes_of(viseme), QUIET)
    assert face[0, INDEX[name]] >= low
    assert face.max() <= 1
    assert face[0, INDEX["jawOpen"]] <= 0.6


def test_open_vowels_show_the_teeth_and_rounded_ones_cover_them() -> None:
    """A jaw that drops behind a still upper lip leaves a black hole, as if the speaker had no teeth."""
    upper, lower, jaw = INDEX["mouthUpperUpLeft"], INDEX["mouthLowerDownLeft"], INDEX["jawOpen"]
    vowel = ArticulationLayer()(torch.tensor([[0.6, 0.1, 0.0, 0.0]]), visemes_of("aa"), QUIET)[0]
    rounded = ArticulationLayer()(torch.tensor([[0.6, -0.8, 0.0, 0.0]]), visemes_of("oh"), QUIET)[0]
    assert vowel[upper] > 0.25
    assert rounded[upper] < 0.1
    sibilant = ArticulationLayer()(torch.tensor([[0.15, 0.3, 0.0, 0.0]]), visemes_of("SS"), QUIET)[0]
    assert min(sibilant[upper], sibilant[lower]) > 0.1
    assert 0 < sibilant[jaw] < 0.05  # the teeth stay together


def test_spectrogram_is_the_fourier_transforms() -> None:
    """The DFT is spelt as a convolution over hops; a wrong layout would still train, on noise."""
    rng = np.random.default_rng(0)
    audio = rng.standard_normal(WINDOW_SAMPLES).astype(np.float32) * 0.1
    module = LogMel()
    got = module.power(torch.from_numpy(audio)[None])[0].numpy()
    assert got.shape == (64, 80)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(600) / 600)
    for step in (0, 37, 79):
        spectrum = np.abs(np.fft.rfft(audio[200 * step :][:600] * hann)) ** 2 / (hann**2).sum()
        wanted = module.bands[:, :, 0].numpy() @ spectrum[1:191]
        np.testing.assert_allclose(got[:, step], wanted, rtol=1e-3, atol=1e-9)


def test_a_tone_lights_its_own_band() -> None:
    """Mel bands out of order would pass every shape check."""
    module = LogMel()
    peaks = []
    for hertz in (200.0, 1000.0, 4000.0):
        tone = np.sin(2 * np.pi * hertz * np.arange(WINDOW_SAMPLES) / SAMPLE_RATE).astype(np.float32)
        peaks.append(int(module(torch.from_numpy(tone)[None])[0, :, 40].argmax()))
    assert peaks == sorted(peaks)
    assert peaks[0] < 10
    assert peaks[2] > 40


@pytest.mark.parametrize("temporal", TEMPORAL)
def test_a_window_holds_all_that_an_answer_depends_on(temporal: str) -> None:
    """Training runs over passages, serving over windows: they agree only while the network's past fits the window."""
    torch.manual_seed(0)
    encoder, expression = SpeechEncoder().eval(), Expression(temporal=temporal).eval()
    mel = torch.randn(1, 64, 200)
    with torch.inference_mode():
        passage = expression.logits(encoder.encode(mel).transpose(1, 2))[expression.lookahead][..., -1]
        window = expression(encoder.encode(mel[:, :, -80:]).transpose(1, 2))
    for got, wanted in zip(window, expression.shown(passage), strict=True):
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), atol=1e-5)


def test_a_shown_frame_is_the_mean_over_its_shutter() -> None:
    """Taken at one instant, a gate that opens within 17 ms is a twitch of the whole mouth."""
    torch.manual_seed(0)
    expression = Expression().eval()
    logits = torch.randn(2, len(SHUTTER), LOGITS)
    with torch.inference_mode():
        shown = expression.shown(logits)
        instants = [expression.face(logits[:, i]) for i in range(len(SHUTTER))]
    for got, each in zip(shown, zip(*instants, strict=True), strict=True):
        wanted = sum(share * one for share, one in zip(SHUTTER, each, strict=True))
        torch.testing.assert_close(got, wanted)
    assert sum(SHUTTER) == 1


@pytest.mark.parametrize("temporal", TEMPORAL)
def test_no_answer_sees_what_comes_after_it(temporal: str) -> None:
    """A temporal model that peeks learns well and fails on the server, where there is nothing to peek at."""
    torch.manual_seed(0)
    expression = Expression(temporal=temporal).eval()
    embedding = torch.randn(1, 60, 192)
    changed = embedding.clone()
    changed[:, 50:] = 0
    with torch.inference_mode():
        before, after = expression.features(embedding), expression.features(changed)
    last = 50 - expression.reach  # the features start `reach` steps late
    torch.testing.assert_close(before[:, :, :last], after[:, :, :last], rtol=0, atol=1e-6)
    assert not torch.allclose(before[:, :, last:], after[:, :, last:])


def test_attention_is_served_as_it_is_trained() -> None:
    """Training attends by matrix products, the served graph query by query: two ways, one answer."""
    torch.manual_seed(0)
    layer = LocalAttention(192, 11)
    torch.nn.init.normal_(layer.distances)
    layer.dropout.p = 0.0
    x = torch.randn(2, 40, 192)
    with torch.inference_mode():
        torch.testing.assert_close(layer.eval()(x), layer.train()(x), rtol=1e-4, atol=1e-5)


def test_expression_takes_the_embeddings_of_another_encoder() -> None:
    """wav2vec 2.0 has 768 channels: they must fit without a second Expression."""
    face, visemes = Expression(embedding_size=768).eval()(torch.randn(2, 40, 768))
    assert face.shape == (2, 52)
    assert visemes.shape == (2, 15)


def test_unknown_temporal_model_and_look_ahead_are_named() -> None:
    """A wrong name must say which there are."""
    with pytest.raises(ValueError, match="'lstm'"):
        Expression(temporal="lstm")
    with pytest.raises(ValueError, match="lookahead is 4"):
        Expression(lookahead=4)


@pytest.mark.parametrize("strength", [STRONG, GENTLE])
def test_augmentation_repeats_with_its_seed_and_stays_a_power(strength: Strength) -> None:
    """Negative or infinite power turns into NaN in the logarithm, hours into a training."""
    power = torch.rand(8, 64, 384) * 1e-3
    first = Augmenter(torch.Generator().manual_seed(5), strength)(power)
    again = Augmenter(torch.Generator().manual_seed(5), strength)(power)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
        assert torch.isfinite(one).all()
        assert (one >= 0).all()
