"""What each phoneme asks of the lips, for the four phoneme alphabets that the synthesisers report.

flite and festival's English voices report ARPAbet, espeak-ng reports IPA, festival's Italian, Czech, Finnish and
Catalan voices report one letter or two for each sound, its Russian voice names of its own. All of them become one of
the ARTICULATIONS: a lip gap and a lip width, each with a dominance (Cohen & Massaro 1993: how hard the sound insists on
its shape against its neighbours), and one of the 15 visemes of the Oculus LipSync set that avatars and game engines
take.
"""

from __future__ import annotations

from typing import Final, NamedTuple

VISEMES: Final = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou")
"""Order of the VISEME tensor."""


class Articulation(NamedTuple):
    """Lip shape of one class of sounds: `gap` 0 closed .. 1 widest, `width` -1 rounded .. 1 spread."""

    gap: float
    width: float
    gap_dominance: float
    width_dominance: float
    viseme: str


ARTICULATIONS: Final = {
    "silence": Articulation(0.00, 0.00, 0.60, 0.30, "sil"),
    "bilabial": Articulation(0.00, 0.00, 1.20, 0.30, "PP"),
    "labiodental": Articulation(0.08, 0.10, 1.20, 0.40, "FF"),
    "dental": Articulation(0.25, 0.05, 0.70, 0.30, "TH"),
    "alveolar": Articulation(0.22, 0.10, 0.50, 0.20, "DD"),
    "nasal": Articulation(0.22, 0.10, 0.50, 0.20, "nn"),
    "lateral": Articulation(0.35, 0.05, 0.50, 0.20, "nn"),
    "velar": Articulation(0.30, 0.05, 0.25, 0.15, "kk"),
    "glottal": Articulation(0.35, 0.00, 0.15, 0.10, "kk"),
    "sibilant": Articulation(0.15, 0.30, 0.90, 0.50, "SS"),
    "postalveolar": Articulation(0.20, -0.60, 0.90, 0.90, "CH"),
    "r": Articulation(0.22, -0.50, 0.60, 0.70, "RR"),
    "w": Articulation(0.12, -1.00, 1.00, 1.20, "ou"),
    "j": Articulation(0.24, 0.40, 0.60, 0.60, "ih"),
    "AA": Articulation(0.90, 0.05, 1.00, 0.40, "aa"),
    "AE": Articulation(0.85, 0.30, 1.00, 0.60, "aa"),
    "AH": Articulation(0.58, 0.00, 0.80, 0.30, "aa"),
    "AX": Articulation(0.35, 0.00, 0.50, 0.20, "aa"),
    "AO": Articulation(0.70, -0.55, 1.00, 0.90, "oh"),
    "OW": Articulation(0.45, -0.80, 1.00, 1.00, "oh"),
    "UH": Articulation(0.32, -0.50, 0.80, 0.80, "ou"),
    "UW": Articulation(0.20, -0.95, 1.00, 1.20, "ou"),
    "ER": Articulation(0.35, -0.40, 0.80, 0.70, "RR"),
    "EH": Articulation(0.60, 0.30, 0.90, 0.60, "E"),
    "EY": Articulation(0.42, 0.50, 0.90, 0.80, "E"),
    "IH": Articulation(0.38, 0.30, 0.70, 0.50, "ih"),
    "IY": Articulation(0.26, 0.65, 0.90, 0.90, "ih"),
}

OPEN_VOWELS: Final = frozenset({"AA", "AE", "AH", "AO", "EH"})
"""Classes whose lips must be seen apart."""

_ARPABET: Final = {
    name: tuple(classes.split())
    for classes, names in {
        "silence": "pau sil ssil h# brth # <sil> +spn+ +nsn+ [noise] [speech] [cough]",
        "bilabial": "p b m em",
        "labiodental": "f v",
        "dental": "th dh",
        "alveolar": "t d dx",
        "nasal": "n en nx",
        "lateral": "l el",
        "velar": "k g ng",
        "glottal": "hh hv h",
        "sibilant": "s z",
        "postalveolar": "sh zh ch jh",
        "r": "r",
        "w": "w wh",
        "j": "y",
        "AA": "aa",
        "AE": "ae",
        "AH": "ah",
        "AX": "ax",
        "AO": "ao",
        "UH": "uh",
        "UW": "uw",
        "ER": "er axr",
        "EH": "eh",
        "IH": "ih ix",
        "IY": "iy",
        "AA OW": "aw",
        "AA IY": "ay",
        "EH IY": "ey",
        "AO UW": "ow",
        "AO IY": "oy",
    }.items()
    for name in names.split()
}

_IPA: Final = {
    letter: name
    for name, letters in {
        "bilabial": "pbmɓɸ",
        "labiodental": "fvʋɱ",
        "dental": "θð",
        "alveolar": "tdɾɽʈɖ",
        "nasal": "nɳɲ",
        "lateral": "lɫʎɭ",
        "velar": "kɡgŋxɣχqɟcʁ",
        "glottal": "hɦħʔç",
        "sibilant": "sz",
        "postalveolar": "ʃʒɕʑʂʐ",
        "r": "rɹɻ",
        "w": "wʍɥβ",
        "j": "jʝ",
        "AA": "aɑ",
        "AE": "æ",
        "AH": "ɐʌɤ",
        "AX": "əɘ",
        "AO": "ɒɔœ",
        "OW": "oø",
        "UH": "ʊʏɵ",
        "UW": "uʉy",
        "ER": "ɚɜɝɞ",
        "EH": "ɛ",
        "EY": "e",
        "IH": "ɪɨᵻɯ",
        "IY": "i",
    }.items()
    for letter in letters
}

_LETTERS: Final = {
    **dict.fromkeys(("#", "pau", "sil"), ("silence",)),
    **{letter: (name,) for letter, name in _IPA.items() if letter.isascii()},
    "r": ("alveolar",),  # a tap or a trill, not the rounded English sound
    "O": ("AO",),
    "E": ("EH",),
    "ax": ("AX",),
    "c": ("sibilant",),
    "ch": ("velar",),
    "S": ("postalveolar",),
    "tS": ("postalveolar",),
    "dZ": ("postalveolar",),
    "ts": ("sibilant",),
    "dz": ("sibilant",),
    "J": ("nasal",),
    "N": ("velar",),
    "L": ("lateral",),
    "rr": ("alveolar",),
    "R": ("alveolar",),
    "D": ("alveolar",),
    "B": ("bilabial",),
    "G": ("velar",),
    "h": ("glottal",),
    "c~": ("postalveolar",),
    "s~": ("postalveolar",),
    "z~": ("postalveolar",),
    "@": ("AE",),  # the Finnish voices' letter a with two dots
    "Z": ("postalveolar",),
    "7": ("OW",),
}

_RUSSIAN: Final = {
    name: articulation
    for articulation, names in {
        "silence": "pau",
        "bilabial": "p pp b bb m mm",
        "labiodental": "f ff v vv",
        "alveolar": "t tt d dd r rr",
        "nasal": "n nn",
        "lateral": "l ll",
        "velar": "k kk g gg h hh",
        "sibilant": "s ss z zz c",
        "postalveolar": "sh zh ch sch",
        "j": "j",
        "AA": "aa",
        "AH": "a",
        "AX": "ae ay",
        "AO": "oo",
        "EH": "ee e",
        "IY": "ii",
        "IH": "i yy y",
        "UW": "uu",
        "UH": "u ur",
    }.items()
    for name in names.split()
}
"""Phonemes of festival's Russian voice: doubled vowels are stressed, doubled consonants soft."""

ALPHABETS: Final = ("arpabet", "ipa", "letters", "russian")


def classes_of(phoneme: str, alphabet: str) -> tuple[str, ...]:
    """Return the one or two ARTICULATIONS keys that `phoneme` passes through, evenly in time.

    `alphabet` is one of ALPHABETS. A sound that no table knows is taken for a glottal one, which asks nothing
    of the lips.

    Raises:
        ValueError: `alphabet` is none of ALPHABETS.
    """
    if alphabet == "arpabet":
        return _ARPABET.get(phoneme.lower(), ("glottal",))
    if alphabet == "russian":
        return (_RUSSIAN.get(phoneme, "glottal"),)
    if alphabet == "letters":
        bare = phoneme.rstrip("0123456789:")
        if phoneme in _LETTERS:
            return _LETTERS[phoneme]
        return _LETTERS.get(bare, _LETTERS.get(bare[:1], ("glottal",)))
    if alphabet == "ipa":
        if not phoneme or phoneme[0] in "_| ":
            return ("silence",)
        found = [_IPA[letter] for letter in phoneme if letter in _IPA]
        if len(found) > 1 and found[0] == "alveolar" and found[1] in ("postalveolar", "sibilant"):
            found = found[1:]  # an affricate closes with the tongue; its lips are the fricative's
        return tuple(found[:2]) or ("glottal",)
    raise ValueError(f"alphabet is {alphabet!r}, expected one of {ALPHABETS}")
