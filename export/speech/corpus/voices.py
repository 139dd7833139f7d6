"""Every voice of the corpus: who speaks, for how long, and what."""

from __future__ import annotations

from functools import partial
from typing import Final

from export.speech.corpus.espeak import Espeak
from export.speech.corpus.festival import festival
from export.speech.corpus.flite import flite
from export.speech.corpus.native import native
from export.speech.corpus.recorded import recorded_shards
from export.speech.corpus.sentences import sentences
from export.speech.corpus.shard import Shard, Speak, Texts
from export.speech.corpus.talk import talk
from export.speech.corpus.world import Studio


def _names(text: str) -> list[str]:
    return text.split()


DEBIAN_PACKAGES: Final = _names(
    """flite festival espeak-ng libespeak-ng1 festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts festvox-italp16k
    festvox-itapc16k festvox-suopuhe-lj festvox-suopuhe-mv festvox-ca-ona-hts festvox-czech-ph festvox-czech-dita
    festvox-czech-machac festvox-czech-krb festvox-ru"""
)

FLITE_VOICES: Final = ("slt", "rms", "awb", "kal16")
FESTIVAL_ENGLISH: Final = ("cmu_us_slt_arctic_hts", "kal_diphone", "ked_diphone")
FESTIVAL_LETTERS: Final = {
    "upc_ca_ona_hts": ("catalan", "latin-1"),
    "czech_dita": ("czech", "iso-8859-2"),
    "czech_krb": ("czech", "iso-8859-2"),
    "czech_machac": ("czech", "iso-8859-2"),
    "czech_ph": ("czech", "iso-8859-2"),
    "hy_fi_mv_diphone": ("finnish", "latin-1"),
    "suo_fi_lj_diphone": ("finnish", "latin-1"),
    "lp_diphone": ("italian", "latin-1"),
    "pc_diphone": ("italian", "latin-1"),
}
"""Voices that report letters, with their language and the encoding they read."""
RUSSIAN: Final = "msu_ru_nsh_clunits"
"""Made of recorded units, the most natural of them all."""

ESPEAK_VARIANTS: Final = _names(
    """m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt3 klatt4 adam Alex belinda john linda max michael paul
    rob steph steph2 Andy Annie Diogo Gene Lee Mario Storm victor whisper aunty grandpa quincy"""
)
ESPEAK_LANGUAGES: Final = _names("""de fr es it pt-br nl pl cmn hi tr ru sv ja ko""")

SPEAKERS_EACH: Final = 6
"""Made-up speakers from each English voice."""


def _plain(invented: float) -> Texts:
    return partial(sentences, invented=invented)


def _flite(voice: str) -> Speak:
    return partial(flite, voice)


def _festival(voice: str, encoding: str = "utf-8") -> Speak:
    return partial(festival, voice, encoding=encoding)


def english_voices() -> list[tuple[str, Speak]]:
    """List the English voices made of recordings, each by the name that its shards begin with."""
    return [
        *((f"flite_{voice}", _flite(voice)) for voice in FLITE_VOICES),
        *((f"festival_{voice}", _festival(voice)) for voice in FESTIVAL_ENGLISH),
    ]


def shards() -> list[Shard]:
    """List every voice of the corpus: 6.6 hours of synthesisers, 5.2 of recorded people.

    Voices made of recordings (flite, festival) take most of it, for they carry what robots lack; the same, taken apart
    and put together again as other people, a good part more; espeak-ng adds many vocal tracts and the sounds of other
    languages. Each synthesiser first speaks word lists and sentences, then everyday talk or its own language. Recorded
    people come last.
    """
    english = english_voices()
    listed = [
        Shard(name, "arpabet", 12.5 if name.startswith("flite") else 9.4, _plain(0.15), speak)
        for name, speak in english
    ]
    listed += [Shard(f"festival_{voice}", "letters", 4.7, _plain(1.0), _festival(voice)) for voice in FESTIVAL_LETTERS]
    espeak = Espeak()
    for i, variant in enumerate(ESPEAK_VARIANTS):
        language = ("en-us", "en-us", "en", "en-gb-scotland", "en-us", "en-gb-x-rp")[i % 6]
        voice = f"{language}+{variant}"
        listed.append(Shard(f"espeak_{voice}", "ipa", 1.1, _plain(0.1), partial(espeak.speak, voice)))
    for i, language in enumerate(ESPEAK_LANGUAGES):
        voice = f"{language}+{ESPEAK_VARIANTS[(7 * i) % len(ESPEAK_VARIANTS)]}"
        listed.append(Shard(f"espeak_{voice}", "ipa", 1.1, _plain(0.4), partial(espeak.speak, voice)))

    listed += [
        Shard(f"{name}-talk", "arpabet", 10.0 if name.startswith("flite") else 7.0, talk, speak)
        for name, speak in english
    ]
    listed.append(Shard(f"festival_{RUSSIAN}", "russian", 14.0, native("russian"), _festival(RUSSIAN)))
    listed += [
        Shard(f"festival_{voice}-native", "letters", 2.5, native(language), _festival(voice, encoding))
        for voice, (language, encoding) in FESTIVAL_LETTERS.items()
    ]

    studios: list[tuple[str, str, float, int, Texts, Speak]] = [
        (name, "arpabet", 2.0, SPEAKERS_EACH, talk, speak) for name, speak in english
    ]
    studios.append((f"festival_{RUSSIAN}", "russian", 2.0, SPEAKERS_EACH, native("russian"), _festival(RUSSIAN)))
    studios += [
        (f"festival_{voice}", "letters", 1.2, 2, native(language), _festival(voice, encoding))
        for voice, (language, encoding) in FESTIVAL_LETTERS.items()
    ]
    made = [
        (speaker, Shard(f"world_{name}-{speaker}", alphabet, minutes, texts, studio.speak))
        for i, (name, alphabet, minutes, speakers, texts, speak) in enumerate(studios)
        for studio in (Studio(speak, alphabet, texts, seed=700 + i),)
        for speaker in range(speakers)
    ]
    listed += [shard for _, shard in sorted(made, key=lambda pair: pair[0])]  # the first of each voice first
    return [*listed, *recorded_shards()]
