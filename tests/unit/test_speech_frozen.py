"""Training on a wav2vec 2.0 or HuBERT checkpoint, and distilling one: a few steps on tiny ones."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.contract import EMBEDDING_SIZE, EMBEDDING_STEPS, LOOKAHEAD_FRAMES, WINDOW_SAMPLES
from facestream.parameters import ARKIT

from tests.tiny_checkpoint import LARGE, write_checkpoint
from tests.tiny_corpus import write_corpus

torch = pytest.importorskip("torch", reason="torch is in the extra [export]")
pytest.importorskip("transformers", reason="transformers is in the extra [export]")

from export.speech import __main__ as pipeline  # noqa: E402
from export.speech.expression import LOOKAHEADS, SHUTTER, Expression  # noqa: E402
from export.speech.features import load_corpus, stretches  # noqa: E402
from export.speech.loss import led  # noqa: E402
from export.speech.passages import Passages  # noqa: E402
from export.speech.pretrained import frozen  # noqa: E402
from export.speech.pretrained.augment_sound import SoundAugmenter  # noqa: E402
from export.speech.pretrained.distil import DELAY, Distilled, distillation_loss, teach  # noqa: E402
from export.speech.pretrained.encoder import PretrainedEncoder, read_checkpoint  # noqa: E402
from export.speech.pretrained.frozen import (  # noqa: E402
    STEPS,
    SoundPassages,
    default_checkpoint,
    train_on_encoder,
    trained_on_encoder,
    validate,
)
from export.speech.pretrained.sounds import STEP, Sound, load_sounds  # noqa: E402
from export.speech.train import main as train_main  # noqa: E402
from export.speech.train import train, trained  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("speech") / "corpus")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), "wav2vec2")


def test_sound_and_lips_keep_step(corpus: Path) -> None:
    """Training on windows reads sound and targets from two places: a slip teaches a mouth out of step."""
    sound = load_sounds(corpus)[0]
    assert len(sound.audio) == STEP * len(sound.visemes) == STEP * sound.lips.shape[1]
    voice = load_corpus(corpus)[0]
    assert torch.equal(sound.lips, voice.lips)
    level = np.square(sound.audio.astype(np.float64).reshape(-1, STEP)).mean(1)
    heard = voice.log_power.float().exp().sum(0).reshape(-1, 2).mean(1).numpy()
    assert np.corrcoef(np.log(level + 10), np.log(heard + 1e-8))[0, 1] > 0.9


def test_batches_repeat_with_their_seed_and_hold_rooms_and_starts(corpus: Path) -> None:
    """A training that cannot be repeated cannot be checked; without empty rooms a mouth never rests."""
    sounds = load_sounds(corpus)

    def draw() -> list[Any]:
        passages = SoundPassages(sounds, torch.Generator().manual_seed(3))
        return [passages.batch() for _ in range(6)]

    for first, again in zip(draw(), draw(), strict=True):
        assert first.audio.shape == (8, STEP * STEPS)
        assert torch.equal(first.audio, again.audio)
        assert torch.isfinite(first.audio).all()
        assert first.audio.abs().max() <= 1
    assert any((batch.lips == 0).all(2).all(1).any() for batch in draw())


def test_augmentation_keeps_the_sound_in_its_place() -> None:
    """Sound that is moved by a filter would no longer fit the lips."""
    augment = SoundAugmenter(torch.Generator().manual_seed(1))
    audio = torch.zeros(16, 24_000)
    audio[:, 12_000] = 0.5
    # Colour alone: the reverberation and the noise that belong to it are behind and around.
    coloured = augment._equalise(audio)
    assert (coloured.abs().argmax(1) - 12_000).abs().max() <= 3


def test_expression_learns_on_a_frozen_encoder_and_is_found_again(
    corpus: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user's wait of hours must end in lower loss, the encoder untouched, and a file that export understands."""
    torch.manual_seed(0)
    source = read_checkpoint(checkpoint)
    encoder = PretrainedEncoder(source, 1).eval()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    kept = tmp_path / "kept.pt"
    settings: dict[str, Any] = {"temporal": "tcn", "steps": 48, "rate": 2e-3, "seed": 1, "save_every": 24}
    expression: Any = train_on_encoder(corpus, kept, checkpoint, 1, **settings)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name])
    first, last = (float(loss) for loss in re.findall(r"loss (\S+)", capsys.readouterr().out))
    assert last < 0.85 * first
    assert -1 <= validate(expression, encoder, load_sounds(corpus)) <= 1

    again, found = trained_on_encoder(kept, checkpoint, 1)
    window = torch.randn(2, WINDOW_SAMPLES) * 0.05
    with torch.no_grad():
        face, viseme = found(again(window))
        assert face.shape == (2, len(ARKIT))
        assert torch.equal(face, expression.eval()(encoder(window))[0])
        assert torch.allclose(viseme.sum(1), torch.ones(2))
    with pytest.raises(
        ValueError, match=r"was trained on wav2vec2 at layer 1, weights .*, expected wav2vec2 at layer 2"
    ):
        trained_on_encoder(kept, checkpoint, 2)
    with pytest.raises(ValueError, match="name it with --encoder and --layer"):
        trained(kept)
    with pytest.raises(ValueError, match="name another file"):
        train_on_encoder(corpus, kept, checkpoint, 2, **settings)


def test_a_teacher_is_distilled_and_leaves_no_trace(
    corpus: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distillation is of use only while what is exported stays the small network, and while the loss falls."""
    monkeypatch.setattr("export.speech.passages.BATCH", 16)
    voices = load_corpus(corpus)
    source = teach(voices, corpus, checkpoint, 2)
    for voice in voices:
        assert voice.teacher is not None
        assert voice.teacher.shape == (len(voice.visemes), source.size)
        np.testing.assert_allclose(voice.teacher.float().std(1, correction=0), 1, atol=0.02)
    torch.manual_seed(0)
    networks = Distilled("tcn", source.size)
    batch = Passages(voices, torch.Generator().manual_seed(4)).batch()
    assert batch.teacher is not None
    assert batch.taught is not None
    assert batch.teacher.shape == (16, 192, source.size)
    assert 0.8 < batch.taught.mean() < 1

    wanted, taught = batch.teacher[:, :-DELAY], batch.taught[:, :-DELAY]

    def teachers() -> float:
        torch.manual_seed(2)
        with torch.no_grad():
            guess = networks.teacher_head(networks.encoder.encode(batch.mel).transpose(1, 2)[:, DELAY:])
            return float(distillation_loss(guess, wanted, taught))

    untaught = teachers()
    optimiser = torch.optim.Adam(networks.parameters(), 2e-3)
    for _ in range(12):
        optimiser.zero_grad()
        networks.loss(batch).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert teachers() < 0.9 * untaught
    kept = tmp_path / "taught.pt"
    train(corpus, kept, temporal="tcn", steps=1, rate=2e-3, seed=1, teacher=(checkpoint, 2))
    small = trained(kept)
    assert not hasattr(small, "teacher_head")
    with torch.no_grad():
        assert small.encoder(torch.zeros(1, WINDOW_SAMPLES)).shape == (1, EMBEDDING_STEPS, EMBEDDING_SIZE)


def test_the_teacher_speaks_of_the_step_that_the_lips_are_of(corpus: Path, tmp_path: Path) -> None:
    """A whole utterance is heard at once: its steps must be those of the windows that end with them."""
    folder = write_checkpoint(tmp_path / "large", "wav2vec2", **LARGE)
    # Whatever is normalised over all that is heard differs between a window and an utterance.
    (folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 16000, "do_normalize": False}))
    voice, sound = load_corpus(corpus)[0], load_sounds(corpus)[0]
    teach([voice], corpus, folder, 0)
    assert voice.teacher is not None
    encoder = PretrainedEncoder(read_checkpoint(folder), 0).eval()
    steps = next(stretches(corpus / f"{voice.name}.npz")).lips.shape[1]
    last = steps - 1 - 6 * 9  # where the teacher's 50 Hz and the window's fall together
    audio = torch.from_numpy(sound.audio[: STEP * (last + 1)][-WINDOW_SAMPLES:].astype("float32") / 32767)
    with torch.no_grad():
        window = torch.nn.functional.layer_norm(encoder(audio[None])[0], (encoder.size,))
    inner = slice(12, 28)  # the positional convolution sees the window's edges beyond
    teacher = voice.teacher[last + 1 - EMBEDDING_STEPS : last + 1].float()
    np.testing.assert_allclose(window[inner].numpy(), teacher[inner].numpy(), atol=0.03)


def test_wrong_options_are_refused_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, checkpoint: Path
) -> None:
    """A forgotten --layer would otherwise start hours of training on a layer that nobody chose."""
    for arguments, said in (
        (["--encoder", str(tmp_path)], "--layer is missing"),
        (["--layer", "3"], "--layer goes with"),
        (["--encoder", "a", "--teacher", "b", "--layer", "3"], "exclude each other"),
        (["--encoder", "facebook/hubert-base-ls960", "--layer", "3"], "facebook/hubert-base-ls960 is no folder"),
        (["--teacher", str(checkpoint), "--layer", "13"], "layer is 13, expected 0 to 2"),
    ):
        with pytest.raises(SystemExit):
            train_main(arguments)
        assert said in capsys.readouterr().err


def test_a_sound_too_short_for_a_passage_is_not_drawn(corpus: Path) -> None:
    """One word by one volunteer ended hours of training with an error, whenever it happened to be drawn."""
    sounds = load_sounds(corpus)
    short = replace(sounds[0], name="recorded_drascula_word", visemes=sounds[0].visemes[:55])
    hush = replace(short, name="negatives_hush")
    passages = SoundPassages([*sounds, short, hush], torch.Generator().manual_seed(1))
    assert len(passages.sounds) == len(sounds)
    assert not passages.negatives


def test_validation_asks_for_what_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """It held the answers against lips 12 ms later than the loss teaches: who is right must be told r = 1."""
    rng = np.random.default_rng(1)
    n = 3000
    places = np.repeat(np.arange(n, dtype=np.int16), STEP)  # each window's last sample says which step it ends with
    lips = torch.from_numpy(rng.random((4, n))).half()
    sound = Sound("flite_one", places, lips, torch.zeros(n, dtype=torch.long))
    short = Sound("flite_word", places[: 30 * STEP], lips[:, :30], torch.zeros(30, dtype=torch.long))
    right = led(lips[0].float(), LOOKAHEADS[LOOKAHEAD_FRAMES], 0)

    def answers(expression: Any, encoder: Any, windows: Any) -> list[Any]:
        gap = right[(windows[:, -1] * 32767).round().long()]
        return [gap[:, None, None].expand(-1, len(SHUTTER), 1)] * len(LOOKAHEADS)

    monkeypatch.setattr(frozen, "answers", answers)
    assert validate(Expression(), torch.nn.Identity(), [sound, short]) == pytest.approx(1.0, abs=1e-4)


def test_checkpoints_are_named_after_encoder_and_layer() -> None:
    """Two encoders that shared a file would overwrite hours of each other's training."""
    assert default_checkpoint(Path("models/hubert-base-ls960/"), 6).name == "hubert-base-ls960-layer6.pt"


def test_one_command_builds_on_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three commands with five paths that must agree are three chances to serve the wrong network."""
    done: list[list[str]] = []

    def record(arguments: list[str]) -> int:
        done.append(arguments)
        return 0

    monkeypatch.setattr("export.speech.corpus.__main__.main", record)
    monkeypatch.setattr(pipeline, "train_main", record)
    monkeypatch.setattr(pipeline, "export_main", record)
    monkeypatch.chdir(ROOT)
    work = str(tmp_path / "work")
    folder = str(write_checkpoint(tmp_path / "hubert-base-ls960", "hubert", num_hidden_layers=6))
    assert pipeline.main(["--work", work, "--encoder", folder, "--layer", "6"]) == 0
    corpus, training, export = (dict(zip(each[::2], each[1::2], strict=True)) for each in done)
    assert training["--corpus"] == corpus["--out"]
    assert training["--checkpoint"] == export["--checkpoint"] == f"{work}/hubert-base-ls960-layer6.pt"
    for each in (training, export):
        assert (each["--encoder"], each["--layer"]) == (folder, "6")
    assert "--repository" not in export  # export knows where a copy belongs
