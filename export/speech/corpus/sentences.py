"""Endless text for the synthesisers: plain English sentences, word lists and invented words, all from a seed.

Sense does not matter to lips; the variety of sound pairs does. Invented words of open syllables give each consonant
before each vowel, in any voice of any language.
"""

from __future__ import annotations

import random
from collections.abc import Iterator


def _words(text: str) -> list[str]:
    return text.split()


def _phrases(text: str) -> list[str]:
    """Phrases between bars; line ends count as spaces."""
    return [" ".join(phrase.split()) for phrase in text.split("|")]


_NOUNS = _words(
    """mother father baby people woman man friend neighbour paper table apple puppy rabbit problem family summer river
    forest voice valley village window water winter wave fire feather coffee office leaf knife chef judge teacher
    treasure measure vision garage engine orange church beach match kitchen picture furniture moon spoon room school
    fruit juice shoe boot book cook foot wood wolf sugar boy toy coin oil point voyage cow house mouse mountain town
    crowd flower hour ice eye light night child tiger pie boat road stone window pillow coat phone hope bird girl
    nurse world journey word church sister brother thunder mother thumb month truth teeth tooth bath path cloth moth
    leather weather lamp camp map cap bag cat hat hand land apple bank jam ham pan plan dance father car farm park
    garden heart star arm palm pot box clock rock dog fog doctor lock ball wall law door horse storm corn egg bed
    head bread neck desk letter pepper seven heaven leg street tree bee sea team dream key piece field machine ship
    fish dish kitchen ring king song wing drink milk city hill rabbit cake name game plane train rain day snake
    place face page year ear beer deer air chair bear pair square tour beauty music museum university cube tube view
    value yellow yard onion union lip tip cup bus duck bulb club love glove month sofa banana camera opera umbrella
    idea pizza hippo pump pebble bubble ribbon robber bottom button cotton bottle battle metal middle puzzle whistle
    castle muffin elephant dolphin trophy photograph nephew"""
)
_VERBS = _words(
    """makes moves moved met missed maps marks pumps bumps helps hopes keeps puts buys bought brings brought builds
    breaks blames believes becomes begins finds found feels felt fills follows forgets forgives leaves loves lives
    gives proves saves serves visits values votes wants watches waters waves weaves wishes wins works wonders
    whispers thinks thought thanks throws teaches touches takes tells turns tries knows needs notices likes looks
    loses lifts laughs listens reads writes rolls runs raises reaches remembers sees saw says said sells sends sings
    shows shares shakes shuts changes chooses chews joins judges carries calls cuts covers cooks gets grows guesses
    guards hears holds hates opens offers owes avoids asks answers admires eats earns uses imagines improves
    interprets employs empties embraces combines compares complains explains explores exposes supports supposes"""
)
_ADJECTIVES = _words(
    """big small warm cold beautiful blue brown black broken brave proper perfect purple popular possible happy
    fabulous famous funny fresh foreign full very vivid violent valuable wonderful wild wet white wise weak thick
    thin thirsty smooth smart small simple silver secret special strange strong sharp short shy shallow cheap
    charming childish joyful gentle huge yellow young useful usual unusual pleasant curious serious loud proud round
    brown low slow old open awful tall raw calm dark large hard early dirty third green clean sweet easy cheap deep
    rich big thick empty heavy ready red yellow funny lucky sudden double cool blue true new few good wooden full
    lazy crazy amazing patient late bright light quiet high dry noisy"""
)
_PLACES = _phrases(
    """near the bay|by the pond|in the middle of the park|from above the bridge|at my uncle's farm|over the
    mountain|behind the white fence|on the top of the box|under the apple tree|beyond the village|between five cups
    of soup|across the wide river|with a pair of thick gloves|without any help|before the show began|after a long
    voyage|on Wednesday evening|from Sunday to Thursday|for the third time this month|around half past four|in
    February or maybe in March|as soon as possible|with much pleasure"""
)
_OPENINGS = _phrases(
    """Well,|Oh wow,|You know,|I think|Maybe|Of course|Hello,|Perhaps|I hope|Why would anybody say that|Please remember
    that|Yes,|No,|Thank you very much,|Good morning,|We believe that|As far as I know,|To be honest,|What a pity,|By
    the way,|Once upon a time,"""
)
_SUBJECTS = _phrases("""my|the|our|your|his|her|a|every|another|this|some|that|Bob's|Pam's|the new""")
_PRONOUNS = _words("""I we you they he she everybody nobody people who""")
_NUMBERS = _words(
    """one two three four five six seven eight nine ten eleven twelve thirteen fifty hundred thousand million"""
)

_CONSONANTS = _words("p b m f v t d n s z k g l r p b m f v")  # the lips' own sounds twice
_VOWELS = _words("a e i o u")


def sentence(rng: random.Random) -> str:
    """One English sentence of about 4 to 16 words."""
    form = rng.random()
    if form < 0.2:
        return (
            " ".join(rng.choice(rng.choice((_NOUNS, _VERBS, _ADJECTIVES, _NUMBERS))) for _ in range(rng.randint(4, 9)))
            + "."
        )
    parts = [rng.choice(_OPENINGS)] if rng.random() < 0.4 else []
    if rng.random() < 0.4:
        parts.append(rng.choice(_PRONOUNS))
    else:
        parts += [rng.choice(_SUBJECTS), rng.choice(_ADJECTIVES) if rng.random() < 0.5 else "", rng.choice(_NOUNS)]
    parts += [rng.choice(_VERBS), rng.choice(_SUBJECTS)]
    parts += [rng.choice(_ADJECTIVES) if rng.random() < 0.5 else "", rng.choice(_NOUNS)]
    if rng.random() < 0.5:
        parts.append(rng.choice(_PLACES))
    elif rng.random() < 0.4:
        parts += [
            rng.choice((", and", ", but", "because")),
            rng.choice(_PRONOUNS),
            rng.choice(_VERBS),
            rng.choice(_NOUNS),
        ]
    return " ".join(" ".join(parts).split()).replace(" ,", ",") + rng.choice(".....?!")


def invented_words(rng: random.Random) -> str:
    """Five to nine words of open syllables, such as "pamo vide"; any voice can say them."""
    words = []
    for _ in range(rng.randint(5, 9)):
        words.append("".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.randint(1, 3))))
    if rng.random() < 0.4:
        words.insert(rng.randrange(2, len(words)), ",")
    return " ".join(words).replace(" ,", ",") + "."


def sentences(seed: int, invented: float) -> Iterator[str]:
    """Yield texts for ever; a share of `invented` in [0, 1] is of invented words. A seed fixes them all."""
    rng = random.Random(seed)
    while True:
        yield invented_words(rng) if rng.random() < invented else sentence(rng)
