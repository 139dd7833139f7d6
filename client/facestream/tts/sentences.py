"""Cuts text into sentences as it comes, say from a language model: each is spoken while the next is written.

The rule is one for all languages with spaces and full stops, with lists of common abbreviations; where it errs, two
sentences are spoken as one, or a short pause stands in the wrong place. A small letter behind a full stop goes on with
the sentence, except for a writer who begins his sentences with small letters, too. Marks (`facestream.tts.marks`) stay
whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

MAX_SENTENCE: Final = 300
"""Characters: longer ones are cut at a comma or space, because an engine answers no sooner than it has a clause."""

ENDS: Final = ".!?…。！？"
"""What ends a sentence."""

CLOSING: Final = "\"'”’»)]}」』"
"""What may stand behind a sentence's end and belongs to it."""

_AHEAD: Final = 50  # characters that may have to be seen to find a sentence's end
_BLOCK: Final = 1024  # characters of a long piece looked at together
# A sentence has ended once something follows: white space and a character, or the same without a space in Chinese.
_END = re.compile(
    rf"(?:[.!?…]+[{re.escape(CLOSING)}]*(?=\s+\S)|[。！？]+[{re.escape(CLOSING)}]*(?![。！？{re.escape(CLOSING)}])(?=\s*\S)"
    r"|\n[^\S\n]*\n(?=\s*\S))"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“„«])(?:"
    r"Mrs?|Ms|Dr|Drs|Prof|Rev|Gen|Col|Capt|Maj|Adm|Cmdr|Pres|Supt|Lt|Sgt|St|Sr|Jr|Hon|Gov|Sen|Rep|Mt|Ave|Blvd|Rd|vs|etc|cf|al|Vol|Fig|pp?"
    r"|approx|dept|est|Inc|Ltd|Co|Corp|Hr|Fr|Nr|Str|bzw|ca|usw|Abb|Bd|evtl|ggf|inkl|Mio|Mrd|vgl|sog|insb|exkl|zzgl|Hrn|Fa|Ing|Hl"
    r"|Sra?|Srta|Dra?|Dña|Lic|Gral|Avda|EE|Ud|Uds|Mme|Mlle|MM?|Ste|bd|av"
    r"|[^\W\d_]|(?:[^\W\d_]\.)+[^\W\d_]"  # initials, e.g., i.e., z.B., U.S.
    r")$"
)
# Abbreviations where a number follows; without one some of them are words that may end a sentence.
_NUMBERED = re.compile(
    r"(?:^|[\s(\[\"'“„«])(?i:"
    r"nos?|jan|feb|mar|apr|aug|sept?|oct|nov|dec|sec|ch|eq|par|tel|temp|max|min|ed"
    r"|art|abs|kap|aufl|okt|dez|mind"
    r"|chap|éd|env|janv|févr|avr|juil|juill|déc|tél"
    r"|núm|pág|págs|aprox|cap|ene|abr|ago|dic"
    r")$"
)
_ORDINAL = re.compile(r"(?:^|[^\w.,])\d{1,2}$")  # "am 3. Mai", "1. Open the door"
_MARK = re.compile(r"(?<!\\)(?:\\\\)*\[[^\[\]]*\Z")  # one that is not closed yet; behind a backslash it is a bracket
_WHOLE_MARK = re.compile(r"\[[^\[\]]*\]")
_SOFT = re.compile(r"[,;:—–，、；：](?=\s|[^\x00-\xff])")


def sentences(source: str | Iterable[str]) -> Iterator[str]:
    """Give the sentences of a text, or of pieces of text as they come.

    Each is at most MAX_SENTENCE characters, without white space around it; none is empty, and all that is not white
    space comes out in order. A sentence is given as soon as the next one begins.
    """
    rest = ""
    pieces = [source] if isinstance(source, str) else source
    for block in (piece[at : at + _BLOCK] for piece in pieces for at in range(0, len(piece), _BLOCK)):
        rest += block
        begin = 0
        while (end := _end(rest, begin)) is not None:
            if sentence := rest[begin:end].strip():
                yield sentence
            begin = end
        rest = rest[begin:]
    while len(rest := rest.strip()) > MAX_SENTENCE:
        end = _cut(rest, 0)
        yield rest[:end].strip()
        rest = rest[end:]
    if rest:
        yield rest


def _end(text: str, begin: int) -> int | None:
    """Where the sentence that starts at `begin` ends, or None: that cannot be said yet."""
    for match in _END.finditer(text, begin):
        if match.end() - begin > MAX_SENTENCE:
            break
        stop, before = match[0].rstrip(CLOSING), text[begin : match.start()]
        follows = text[match.end() : match.end() + _AHEAD].lstrip()[:1]
        if stop == "." and (_ABBREVIATION.search(before) or _ORDINAL.search(before)):
            continue
        if stop == "." and follows.isdigit() and _NUMBERED.search(before):
            continue
        if stop == "." and follows.islower() and _first_letter(before).isupper():  # "for 5 min. or so", "a Ph.D. in"
            continue
        if stop != match[0] and follows.islower():  # "Really?" she said.
            continue
        if _MARK.search(text, begin, match.start()):
            continue
        return match.end()
    return _cut(text, begin) if len(text) - begin > MAX_SENTENCE + _AHEAD else None


def _first_letter(text: str) -> str:
    """The letter that a sentence begins with, "" where it has none; those within marks do not count."""
    return next((character for character in _WHOLE_MARK.sub("", text) if character.isalpha()), "")


def _cut(text: str, begin: int) -> int:
    """Where to cut a sentence that is too long: at the last comma of the second half, else a space, else anywhere."""
    limit = begin + MAX_SENTENCE
    if mark := _MARK.search(text, begin, limit):
        limit = mark.start() if mark.start() > begin else limit
    backslashes = limit - begin - len(text[begin:limit].rstrip("\\"))
    if backslashes % 2 and limit - 1 > begin:
        limit -= 1
    soft = [match.end() for match in _SOFT.finditer(text, begin + (limit - begin) // 2, limit)]
    if soft:
        return soft[-1]
    spaces = [match.start() for match in re.finditer(r"\s", text[begin:limit])]
    return begin + spaces[-1] if spaces and spaces[-1] > 0 else limit
