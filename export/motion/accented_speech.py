"""Synthetic speech of which accents and phrase ends are known, because the synthesiser put them there.

festival decides for each syllable whether it bears a pitch accent and how its phrase ends (in ToBI's terms, by trees
trained on a radio newsreader: Black and Taylor, "Assigning phrase breaks and intonation from text", 1994 to 1997), and
then makes pitch and durations of that. So its own decisions are exact labels of its sound. flite descends from the same
front end but does not print its decisions: its voices are labelled by festival's for the same text, syllable by
syllable, wherever both say the same phonemes.
"""

from __future__ import annotations

import difflib
import itertools
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from export.speech.corpus.flite import flite
from export.speech.corpus.sentences import sentence
from export.speech.corpus.shard import Audio, Phonemes, VoiceMissing, read_wave

FESTIVAL_VOICES: Final = ("kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts")
FLITE_VOICES: Final = ("slt", "rms", "awb")
SILENCE: Final = frozenset({"pau", "h#", "brth", "sil", "SIL"})
_BATCH = 40

_NO_SYLLABLE = "-"

_DUMP = """
(define (dump u path)
  (let ((file (fopen path "w")))
    (mapcar
      (lambda (s)
        (let ((syllable (item.relation s 'SylStructure)))
          (format file "%s %f %s %s %s\\n" (item.name s) (item.feat s "segment_end")
            (if syllable (item.feat s "R:SylStructure.parent.syllable_start") "-")
            (if syllable (item.feat s "R:SylStructure.parent.tobi_accent") "NONE")
            (if syllable (item.feat s "R:SylStructure.parent.tobi_endtone") "NONE"))))
      (utt.relation.items u 'Segment))
    (fclose file)))
"""


class Syllable(NamedTuple):
    """One syllable and what the intonation does on it."""

    first: int
    """Index of its first phoneme."""
    stop: int
    """Index behind its last phoneme."""
    start: float
    """Seconds."""
    end: float
    accented: bool
    """It bears a pitch accent."""
    final: bool
    """A phrase ends with it."""


class AccentedUtterance(NamedTuple):
    """A sentence said: `audio` float32[n] mono at SAMPLE_RATE; `phonemes` (name, start, end) in seconds."""

    text: str
    audio: Audio
    phonemes: Phonemes
    syllables: list[Syllable]


def texts(seed: int) -> Iterator[str]:
    """Endless sentences, a third of them questions that are answered by yes or no."""
    rng = random.Random(seed)
    while True:
        text = sentence(rng)
        if rng.random() < 0.33:
            opening = rng.choice(
                ("Do you think", "Did they say", "Can you see that", "Will you tell me if", "Is it true")
            )
            text = f"{opening} {text[0].lower()}{text[1:-1].replace(',', '')}?"
        yield text


def _script(voice: str, batch: list[str], folder: str, rng: random.Random, sound: bool) -> str:
    lines = [f"(voice_{voice})", _DUMP]
    for i, text in enumerate(batch):
        quoted = text.replace('"', "").replace("\\", "")
        lines += [
            f"(Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.25):.2f})",
            f'(set! u (utt.synth (Utterance Text "{quoted}")))',
            f'(dump u "{folder}/{i}.syllables")',
        ]
        if sound:
            lines.append(f'(utt.save.wave u "{folder}/{i}.wav" \'riff)')
    return "\n".join(lines) + "\n"


def _read_dump(path: Path) -> tuple[Phonemes, list[Syllable]]:
    phonemes: Phonemes = []
    syllables: list[Syllable] = []
    start, current = 0.0, _NO_SYLLABLE
    for index, line in enumerate(path.read_text(encoding="latin-1").splitlines()):
        name, text, syllable_start, accent, endtone = line.split()
        end = float(text)
        phonemes.append((name, start, end))
        if syllable_start != _NO_SYLLABLE:
            if syllable_start == current:
                syllables[-1] = syllables[-1]._replace(stop=index + 1, end=end)
            else:
                syllables.append(Syllable(index, index + 1, start, end, accent != "NONE", endtone != "NONE"))
        current, start = syllable_start, end
    return phonemes, syllables


def festival_says(
    voice: str, lines: Iterator[str], rng: random.Random, sound: bool = True
) -> Iterator[AccentedUtterance]:
    """What festival makes of `lines`, to the last; without `sound` the audio is empty.

    Raises:
        VoiceMissing: the program or the voice is not installed.
    """
    if shutil.which("festival") is None:
        raise VoiceMissing("the program festival is not on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        while batch := list(itertools.islice(lines, _BATCH)):
            script = Path(folder) / "speak.scm"
            script.write_text(_script(voice, batch, folder, rng, sound), encoding="utf-8")
            done = subprocess.run(["festival", "-b", str(script)], capture_output=True, text=True, timeout=600)
            found = 0
            for i, line in enumerate(batch):
                dump, wave = Path(folder) / f"{i}.syllables", Path(folder) / f"{i}.wav"
                if not dump.exists() or (sound and not wave.exists()):
                    continue
                phonemes, syllables = _read_dump(dump)
                yield AccentedUtterance(
                    line, read_wave(wave) if sound else np.zeros(0, np.float32), phonemes, syllables
                )
                found += 1
                dump.unlink()
                wave.unlink(missing_ok=True)
            if not found:
                raise VoiceMissing(f"festival cannot speak with the voice {voice!r}: {done.stderr.strip()[:200]}")


def flite_says(voice: str, lines: Iterator[str], rng: random.Random) -> Iterator[AccentedUtterance]:
    """What flite makes of `lines`, for ever, labelled by festival; raises VoiceMissing."""
    while True:
        labelled = list(festival_says(FESTIVAL_VOICES[0], itertools.islice(lines, _BATCH), rng, sound=False))
        for own in labelled:
            for spoken in flite(voice, iter([own.text]), rng):
                yield AccentedUtterance(own.text, spoken.audio, spoken.phonemes, transfer(own, spoken.phonemes))


def labels_of(text: str, phonemes: Phonemes) -> list[Syllable]:
    """Festival's syllables of `text` at the times of somebody's `phonemes` (ARPAbet); raises VoiceMissing."""
    (own,) = festival_says(FESTIVAL_VOICES[0], iter([text]), random.Random(0), sound=False)
    return transfer(own, phonemes)


def _comparable(name: str) -> str:
    """Festival parts the reduced vowel from the full one, a pronouncing dictionary does not."""
    return {"ax": "ah", "axr": "er"}.get(name.lower(), name.lower())


def transfer(own: AccentedUtterance, phonemes: Phonemes) -> list[Syllable]:
    """The syllables of `own` in other speech of the same text; one whose phonemes differ is left out."""
    rows = (own.phonemes, phonemes)
    where = [[i for i, (name, _, _) in enumerate(row) if name not in SILENCE] for row in rows]
    names = [[_comparable(row[i][0]) for i in heard] for row, heard in zip(rows, where, strict=True)]
    match: dict[int, int] = {}
    for block in difflib.SequenceMatcher(None, names[0], names[1], autojunk=False).get_matching_blocks():
        for k in range(block.size):
            match[where[0][block.a + k]] = where[1][block.b + k]
    moved = []
    for syllable in own.syllables:
        if all(i in match for i in range(syllable.first, syllable.stop)):
            first, last = match[syllable.first], match[syllable.stop - 1]
            moved.append(syllable._replace(first=first, stop=last + 1, start=phonemes[first][1], end=phonemes[last][2]))
    return moved
