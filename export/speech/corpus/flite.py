"""Speech from flite, whose English voices are made of recordings and whose program prints each phoneme's end."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from facestream.contract import SAMPLE_RATE

from export.speech.corpus.shard import Phonemes, Utterance, VoiceMissing, read_wave


def flite(voice: str, texts: Iterator[str], rng: random.Random) -> Iterator[Utterance]:
    """Speak `texts` with a flite voice at changing speed and pitch; flite prints the end of each phoneme."""
    if shutil.which("flite") is None:
        raise VoiceMissing("the program flite is not on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        for text in texts:
            command = ["flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.75, 1.3):.2f}"]
            if rng.random() < 0.5:
                command += ["--setf", f"int_f0_target_mean={rng.uniform(85, 230):.0f}"]
            try:
                done = subprocess.run(
                    [*command, "-psdur", "-t", text, "-o", str(path)], capture_output=True, text=True, timeout=60
                )
            except subprocess.TimeoutExpired as error:
                raise VoiceMissing(f"flite's voice {voice!r} took more than {error.timeout} s for {text!r}") from error
            if done.returncode or not path.exists():
                raise VoiceMissing(f"flite cannot speak with the voice {voice!r}: {done.stderr.strip()[:200]}")
            phonemes: Phonemes = []
            start = 0.0
            for word in done.stdout.split():
                name, _, end = word.rpartition(":")
                phonemes.append((name, start, float(end)))
                start = float(end)
            audio = read_wave(path)
            # A text of two sentences restarts flite's clock: leave it out rather than guess.
            if all(a < b for _, a, b in phonemes) and abs(start - len(audio) / SAMPLE_RATE) < 0.4:
                yield Utterance(audio, phonemes)
