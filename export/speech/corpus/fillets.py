"""The actors of "Fish Fillets" (ALTAR interactive 1998, released in 2002), in Czech and Dutch, and what they say.

A woman and a man in each language, the small and the big fish, say nearly everything; Czech has other characters, too.
Debian's packages `fillets-ng-data-cs` and `fillets-ng-data-nl` hold the sound of each line as `sound/LEVEL/LANGUAGE/
LINE.ogg`, 22 or 44 kHz; `fillets-ng-data` holds the subtitles, `script/LEVEL/dialogs_LANGUAGE.lua`: a call of dialogId
with the line's name, a font, which tells who speaks, and the English words, then one of dialogStr with those spoken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from export.speech.aligner import Audio
from export.speech.sound_file import read_audio

GAME: Final = Path("usr/share/games/fillets-ng")
FONTS: Final = {"font_small": "small", "font_big": "big"}
"""The font of each fish; who has another is one of OTHERS."""
OTHERS: Final = "others"
PARTS: Final = 4
"""Of what a speaker says: a shard each, so that none takes long."""

_STRING: Final = r'"((?:[^"\\]|\\.)*)"'
_LINE: Final = re.compile(
    rf"dialogId\(\s*{_STRING}\s*,\s*{_STRING}\s*,\s*{_STRING}\s*\)\s*dialogStr\(\s*{_STRING}\s*\)"
)


def subtitles(lua: str) -> dict[str, tuple[str, str]]:
    """Return who says each line of a level and its words, by the line's name."""
    return {
        name: (FONTS.get(font, OTHERS), re.sub(r"\\(.)", r"\1", words))
        for name, font, _, words in _LINE.findall(lua)
        if font
    }


def lines(texts: Path, sounds: Path, language: str, speaker: str, part: int) -> Iterator[tuple[Audio, str]]:
    """Yield what `speaker` says: float32[n] mono at SAMPLE_RATE, and the words.

    `texts` and `sounds` are the unpacked packages of the subtitles and of this language's sounds, `language` is cs or
    nl, `speaker` one of FONTS' values or OTHERS. Part 0 begins with the first line, part 1 with the second, and so on;
    each has every line that is PARTS further.

    Raises:
        FileNotFoundError: `texts` holds no subtitles of this language.
    """
    levels = sorted((texts / GAME / "script").rglob(f"dialogs_{language}.lua"))
    if not levels:
        raise FileNotFoundError(f"{texts} holds no script/LEVEL/dialogs_{language}.lua")
    place = 0
    for path in levels:
        level = path.parent.relative_to(texts / GAME / "script")
        for name, (who, words) in subtitles(path.read_text("utf-8")).items():
            sound = sounds / GAME / "sound" / level / language / f"{name}.ogg"
            if who != speaker or not sound.exists():
                continue
            if place % PARTS == part:
                yield read_audio(sound), words
            place += 1
