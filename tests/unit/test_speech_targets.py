"""What the speech networks are taught: phoneme tables and coarticulated curves."""

from __future__ import annotations

import numpy as np
import pytest

from export.speech.corpus import read_shard, write_shard
from export.speech.corpus.sentences import sentences
from export.speech.corpus.voices import shards
from export.speech.phonemes import ARTICULATIONS, VISEMES, classes_of
from export.speech.targets import CURVES, TARGET_RATE, curves, segments

TIMES = np.arange(0.0, 1.5, 1 / TARGET_RATE)


def test_every_articulation_has_a_known_viseme() -> None:
    """A misspelt viseme would train a class that the VISEME tensor does not have."""
    assert {shape.viseme for shape in ARTICULATIONS.values()} == set(VISEMES)


@pytest.mark.parametrize(
    ("phoneme", "alphabet", "expected"),
    [
        ("M", "arpabet", ("bilabial",)),
        ("ay", "arpabet", ("AA", "IY")),
        ("<sil>", "arpabet", ("silence",)),
        ("tʃ", "ipa", ("postalveolar",)),
        ("aɪ", "ipa", ("AA", "IH")),
        ("", "ipa", ("silence",)),
        ("a1", "letters", ("AA",)),
        ("#", "letters", ("silence",)),
        ("r", "letters", ("alveolar",)),
        ("something new", "arpabet", ("glottal",)),
    ],
)
def test_phonemes_of_each_alphabet(phoneme: str, alphabet: str, expected: tuple[str, ...]) -> None:
    """A sound put into the wrong class teaches the wrong lips, with no error anywhere."""
    assert classes_of(phoneme, alphabet) == expected


def test_unknown_alphabet_is_named() -> None:
    """Whoever adds a synthesiser must learn which alphabets there are."""
    with pytest.raises(ValueError, match="'sampa'"):
        classes_of("a", "sampa")


def test_lips_close_fully_on_a_bilabial_between_open_vowels() -> None:
    """Coarticulation alone would leave the lips apart on p, b and m."""
    spoken = segments([("aa", 0.2, 0.5), ("m", 0.5, 0.58), ("aa", 0.58, 0.9)], "arpabet")
    shapes, visemes = curves(spoken, TIMES)
    gap, _, closed, _ = shapes
    during = (TIMES > 0.52) & (TIMES < 0.56)
    assert gap[during].max() < 0.02
    assert closed[during].min() > 0.98
    assert gap[(TIMES > 0.25) & (TIMES < 0.45)].max() > 0.7
    assert closed[(TIMES > 0.25) & (TIMES < 0.43)].max() == 0.0
    assert (visemes[during] == VISEMES.index("PP")).all()


def test_rounding_spreads_to_the_neighbour() -> None:
    """Lips round before the vowel that rounds them: without it each sound would look cut out."""
    plain, _ = curves(segments([("s", 0.3, 0.4), ("iy", 0.4, 0.6)], "arpabet"), TIMES)
    rounded, _ = curves(segments([("s", 0.3, 0.4), ("uw", 0.4, 0.6)], "arpabet"), TIMES)
    before = (TIMES > 0.36) & (TIMES < 0.4)
    width = CURVES.index("width")
    assert rounded[width][before].mean() < plain[width][before].mean() - 0.3


def test_silence_is_rest() -> None:
    """A table that gives silence a gap teaches a mouth that never rests."""
    shapes, visemes = curves([("silence", 0.0, 2.0)], TIMES)
    assert np.abs(shapes).max() < 1e-6
    assert (visemes == VISEMES.index("sil")).all()


def test_sentences_repeat_with_their_seed() -> None:
    """A corpus that cannot be made again cannot be checked."""
    first, again, other = sentences(3, 0.3), sentences(3, 0.3), sentences(4, 0.3)
    texts = [next(first) for _ in range(20)]
    assert texts == [next(again) for _ in range(20)]
    assert texts != [next(other) for _ in range(20)]


def test_a_shard_reads_back_what_was_written(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Phoneme times that slip against the sound would teach a mouth out of step."""
    try:
        shard = next(shard for shard in shards() if shard.name == "flite_slt")
        path = tmp_path / "flite_slt.npz"
        seconds = write_shard(path, shard, 5.0, seed=1)
    except RuntimeError as missing:
        pytest.skip(f"no synthesiser here: {missing}")
    read = list(read_shard(path))
    assert sum(len(utterance.audio) for utterance, _ in read) == pytest.approx(seconds * 24_000)
    for utterance, alphabet in read:
        assert alphabet == "arpabet"
        name, start, end = utterance.phonemes[0]
        assert (name, start) == ("pau", 0.0)
        spoken = utterance.audio[int(end * 24_000) :]
        assert np.abs(utterance.audio[: int(end * 24_000 * 0.7)]).mean() < 0.2 * np.abs(spoken).mean()
