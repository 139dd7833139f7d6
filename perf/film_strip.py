"""Frames side by side, to be looked at: of a film, of a sound that an avatar speaks, or of one of the SCENES.

    python -m perf.film_strip build/demo.mp4 -o strip.jpg                      # a film: frames evenly, with their time
    python -m perf.film_strip speech.wav --avatar ben -o strip.jpg             # drawn here, without a server
    python -m perf.film_strip speech.wav --words "what it says" -o strip.jpg   # phonemes by alignment (English)
    python -m perf.film_strip labiodentals german music -o strips              # SCENES, of espeak-ng or made up
    python -m perf.film_strip scenes -o strips                                 # all of them

What is drawn here goes through the stream's own stages (perf.drawn_frames). Each of its frames carries its number and
the phoneme that is heard in its middle, in X-SAMPA where espeak-ng says it in IPA; "-" is silence.
"""

from __future__ import annotations

import argparse
import random
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from facestream.avatar.preview import is_picture, lay_out
from facestream.contract import FRAME_RATE, FRAME_SIZE, SAMPLE_RATE
from facestream.video import decode
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Audio = NDArray[np.float32]
Phonemes = list[tuple[str, float, float]]

SCENES: Final = {
    "english": ("en-us", "We have both worn the blue shoes for five months, and they are as good as new."),
    "bilabials": ("en-us", "Mama. Papa. Baby. Pepper. Bumper. Maybe Bob."),
    "labiodentals": ("en-us", "Five. Very few. Fifty waves. A favour for Vivian."),
    "rounded": ("en-us", "Who? You. Two blue shoes. We saw you go home. Wow."),
    "spread": ("en-us", "See these three sheep. Easy cheese. Each week he eats meat."),
    "german": ("de", "Über sieben Brücken musst du gehen, vier Pfoten für ein Fohlen."),
    "french": ("fr", "Bonjour, vous pouvez venir boire un peu de vin avec moi."),
    "spanish": ("es", "Buenos días, mi familia vive muy bien en Pamplona."),
    "silence": ("", "silence"),
    "noise": ("", "noise"),
    "music": ("", "music"),
}
"""Voice of espeak-ng and text; without a voice, what there is to hear instead."""

MOUTH_WINDOW: Final = (166, 236, 346, 386)
WHOLE: Final = (0, 0, FRAME_SIZE, FRAME_SIZE)
"""Left, top, right and bottom, px."""

X_SAMPA: Final = {
    **dict(zip("ɑæɐɒɔəɚɛɜɝɪɨʊʌʉøœɤɵʏ", ["A", "{", "6", "Q", "O", "@", "@`", "E", "3", "3`", "I", "1", "U", "V", "}",
                                        "2", "9", "7", "8", "Y"], strict=True)),
    **dict(zip("ʃʒθðŋɲɹɾʁɡçβɣʎɫχʔʋɥ", ["S", "Z", "T", "D", "N", "J", "r", "4", "R", "g", "C", "B", "G", "L", "l", "X",
                                       "?", "P", "H"], strict=True)),
    "ː": ":", "ˈ": "", "ˌ": "", "ʲ": "j", "̃": "~", "ᵻ": "I", "̩": "=", "̪": "",
}  # fmt: skip


def film_strip(
    pictures: Sequence[Image],
    captions: Sequence[str],
    columns: int,
    window: tuple[int, int, int, int],
    zoom: float,
) -> Image:
    """Pictures side by side, row by row, each with its caption; BGR.

    Args:
        pictures: RGB (h, w, 3) each.
        captions: one for each, in ASCII.
        columns: frames in a row.
        window: left, top, right, bottom of what is shown of each, px.
        zoom: size of the shown part.
    """
    left, top, right, bottom = window
    way = cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA
    tiles = []
    for picture, caption in zip(pictures, captions, strict=True):
        part = np.ascontiguousarray(picture[top:bottom, left:right, ::-1])
        tiles.append((caption, cv2.resize(part, None, fx=zoom, fy=zoom, interpolation=way).astype(np.uint8)))
    return lay_out(tiles, columns)


def in_ascii(phoneme: str) -> str:
    """A phoneme's name as a picture's caption can show it: IPA becomes X-SAMPA, what that lacks a question mark."""
    if not phoneme or phoneme.lower() in ("sil", "pau", "_", "_:") or phoneme.startswith("<"):
        return "-"
    letters = [x for x in unicodedata.normalize("NFD", phoneme) if x in X_SAMPA or not unicodedata.combining(x)]
    return "".join(X_SAMPA.get(letter, letter if letter.isascii() else "?") for letter in letters)


def phoneme_captions(phonemes: Phonemes, count: int) -> list[str]:
    """Number and phoneme of each of `count` frames: the one that sounds in the frame's middle."""
    captions = []
    for number in range(count):
        time = (number + 0.5) / FRAME_RATE
        heard = [name for name, start, end in phonemes if start <= time < end]
        captions.append(f"{number} {in_ascii(heard[0]) if heard else '-'}" if phonemes else f"{number}")
    return captions


def scene(name: str) -> tuple[Audio, Phonemes]:
    """The sound of one of SCENES, float32[n] at SAMPLE_RATE, and its timed phonemes.

    Raises:
        KeyError: there is no such scene.
    """
    voice, text = SCENES[name]
    if voice:
        from export.speech.corpus.espeak import Espeak

        spoken = next(Espeak().speak(voice, iter([text]), random.Random(3)))
        quiet = np.zeros(SAMPLE_RATE // 5, np.float32)
        return np.concatenate([quiet, spoken.audio, quiet]), [(n, a + 0.2, b + 0.2) for n, a, b in spoken.phonemes]
    from export.speech.corpus.negatives import Negatives

    if text == "silence":
        return np.zeros(3 * SAMPLE_RATE, np.float32), []
    negatives = Negatives(5)
    made = negatives.piece(negatives.music if text == "music" else negatives.steady_noise, 3.0)
    return (made * (0.3 / max(float(np.abs(made).max()), 1e-9))).astype(np.float32), []


def _spoken(source: str, words: str | None) -> tuple[Audio, Phonemes]:
    """Sound and phonemes of a scene or a sound file."""
    if source in SCENES:
        return scene(source)
    from export.speech.sound_file import read_audio

    audio = read_audio(Path(source))
    if words is None:
        return audio, []
    from export.speech.aligner import Aligner

    return audio, Aligner().align(audio, words)


def frame_numbers(text: str) -> list[int]:
    """The frames that "3,17,40" or "10-30" names; ArgumentTypeError where it is neither."""
    try:
        if "-" in text:
            first, last = (int(number) for number in text.split("-"))
            numbers = list(range(first, last + 1))
        else:
            numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        raise argparse.ArgumentTypeError(f"is {text!r}, expected numbers as in 3,17,40 or 10-30")
    return numbers


def window(text: str) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of "166,236,346,386"; ArgumentTypeError where that is no part of a frame."""
    try:
        left, top, right, bottom = (int(side) for side in text.split(","))
    except ValueError:
        left = top = right = bottom = 0
    if not (0 <= left < right <= FRAME_SIZE and 0 <= top < bottom <= FRAME_SIZE):
        raise argparse.ArgumentTypeError(f"is {text!r}, expected left,top,right,bottom within 0..{FRAME_SIZE} px")
    return left, top, right, bottom


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help=f"film, sound file, 'scenes' or some of {', '.join(SCENES)}")
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture; a folder where there are several")
    parser.add_argument("--avatar", default="ada", help="who speaks what is no film (default: %(default)s)")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="whose stages draw")
    parser.add_argument("--words", help="what a sound file says, in English: its phonemes are marked")
    parser.add_argument(
        "--frames", type=frame_numbers, help="numbers, as in 3,17,40 or 10-30 (default: --count of them, evenly)"
    )
    parser.add_argument("--count", type=int, help="frames (default: 12 of a film, all of what is drawn here)")
    parser.add_argument("--columns", type=int, help="in a row (default: 6 of a film, 12 of what is drawn here)")
    parser.add_argument(
        "--window",
        type=window,
        help=f"left,top,right,bottom, px (default: all of a film, else {','.join(map(str, MOUTH_WINDOW))})",
    )
    parser.add_argument("--zoom", type=float, help="default: 0.5 of a film, else 0.8")
    options = parser.parse_args()
    sources = list(SCENES) if options.sources == ["scenes"] else options.sources
    if len(sources) == 1 and not is_picture(options.output):
        parser.error(f"--output is {options.output}, expected a picture's name, such as strip.jpg")
    for source in sources:
        if source not in SCENES and not Path(source).is_file():
            parser.error(f"source is {source!r}, expected a file, 'scenes' or one of {', '.join(SCENES)}")
    for source in sources:
        film = Path(source).suffix.lower() in (".mp4", ".mkv", ".webm", ".mov")
        pictures: Sequence[Image]
        if film:
            shown = decode(source)
            pictures = list(shown.pictures)
            captions = [f"{time:.2f} s" for time in shown.times]
        else:
            from perf.drawn_frames import DrawnAvatar, SpokenFace

            audio, phonemes = _spoken(source, options.words)
            parameters = SpokenFace(options.repository)(audio)
            pictures = list(DrawnAvatar(options.avatar, options.repository).frames(parameters))
            captions = phoneme_captions(phonemes, len(pictures))
        if options.frames:
            numbers = options.frames
            if max(numbers) >= len(pictures):
                parser.error(f"--frames: frame {max(numbers)} of {source}, expected at most {len(pictures) - 1}")
        else:
            count = min(options.count or (12 if film else len(pictures)), len(pictures))
            numbers = np.linspace(0, len(pictures) - 1, count).round().astype(int).tolist()
        sheet = film_strip(
            [pictures[number] for number in numbers],
            [captions[number] for number in numbers],
            options.columns or (6 if film else 12),
            options.window or (WHOLE if film else MOUTH_WINDOW),
            options.zoom or (0.5 if film else 0.8),
        )
        path = options.output if len(sources) == 1 else options.output / f"{Path(source).stem}_{options.avatar}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), sheet):
            parser.error(f"--output: {path} cannot be written")
        print(f"{path}: {len(numbers)} frames")
    return 0


if __name__ == "__main__":
    sys.exit(main())
