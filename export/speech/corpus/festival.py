"""Speech from festival, whose voices are recorded diphones, recorded units or trained on recordings."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from export.speech.corpus.shard import Phonemes, Utterance, VoiceMissing, read_wave


def festival(voice: str, texts: Iterator[str], rng: random.Random, encoding: str = "utf-8") -> Iterator[Utterance]:
    """Speak `texts` with a festival voice at changing speed; festival saves the phoneme ends as `.segs`.

    `encoding` is that of the letters which the voice reads.
    """
    if shutil.which("festival") is None:
        raise VoiceMissing("the program festival is not on the PATH")
    batch = 40
    with tempfile.TemporaryDirectory() as folder:
        while True:
            lines = [f"(voice_{voice})"]
            for i, text in enumerate(itertools.islice(texts, batch)):
                quoted = text.replace('"', "")
                lines += [
                    f"(Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.25):.2f})",
                    f'(set! u (utt.synth (Utterance Text "{quoted}")))',
                    f'(utt.save.wave u "{folder}/{i}.wav" \'riff)',
                    f'(utt.save.segs u "{folder}/{i}.segs")',
                ]
            script = Path(folder) / "speak.scm"
            script.write_text("\n".join(lines) + "\n", encoding=encoding, errors="ignore")
            try:
                done = subprocess.run(
                    ["festival", "-b", str(script)], capture_output=True, text=True, errors="replace", timeout=600
                )
            except subprocess.TimeoutExpired as error:
                slow = f"festival's voice {voice!r} took more than {error.timeout} s for {batch} texts"
                raise VoiceMissing(slow) from error
            found = 0
            for i in range(batch):
                sound, segments = Path(folder) / f"{i}.wav", Path(folder) / f"{i}.segs"
                if not (sound.exists() and segments.exists()):
                    continue
                phonemes: Phonemes = []
                start = 0.0
                for line in segments.read_text(encoding="latin-1").splitlines():
                    fields = line.split()
                    if len(fields) == 3:
                        phonemes.append((fields[2], start, float(fields[0])))
                        start = float(fields[0])
                yield Utterance(read_wave(sound), phonemes)
                found += 1
                sound.unlink()
                segments.unlink()
            if not found:
                raise VoiceMissing(f"festival cannot speak with the voice {voice!r}: {done.stderr.strip()[:200]}")
