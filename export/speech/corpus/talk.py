"""Endless everyday talk for the synthesisers: what people say to each other and to machines, from a seed.

Where `sentences` mixes words for the variety of their sounds, these texts have the rhythm of speech: short answers,
commands, numbers, names, worn-down forms, hesitations, and rhymes that differ in nothing but the sound which follows a
pause. The last teach what the card of the first networks calls a weakness: n, l and r after a pause taken for m.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final


def _words(text: str) -> list[str]:
    return text.split()


def _phrases(text: str) -> list[str]:
    """Phrases between bars; line ends count as spaces."""
    return [" ".join(phrase.split()) for phrase in text.split("|")]


RHYMES: Final = [
    _words(line)
    for line in """
    pan ban man fan van ran tan can Dan Nan than
    pat bat mat fat vat rat sat cat hat gnat that
    pine mine fine vine wine nine line dine shine sign whine
    pail bail mail fail veil rail nail tail sail whale jail
    pay bay may fay way ray nay lay day say they gay
    pest best messed fest vest west rest nest lest test guest
    pit bit mitt fit wit lit knit sit hit kit writ
    pin bin fin win Lynn tin sin thin chin kin
    peel meal feel veal wheel reel kneel deal seal heel zeal
    peer beer mere fear veer weir rear near leer dear hear
    pear bear mare fair wear rare lair dare hair chair there
    pole bowl mole foal vole role knoll coal hole toll soul
    pot bought moth fought watt rot not lot dot got hot
    park bark mark lark dark shark
    port bored fort ward lord cord sort
    pun bun fun won run none ton sun gun
    putt but mutt rut nut hut cut shut
    pack back Mack whack rack knack lack tack sack
    peg beg Meg leg keg
    pet bet met vet wet ret net let debt get yet
    pick Mick wick Rick nick lick tick sick kick
    pie buy my vie why rye nigh lie die sigh high guy
    pink mink wink rink link sink think
    pool boo moo fool rule noon loop tool cool school
    pound bound mound found wound round hound sound
    bold mold fold rolled gold told cold sold
    pea bee me fee we re knee lee tea see he key
    pump bump lump dump jump
    bake make fake wake rake lake take cake
    ball mall fall wall call tall hall
    more bore four war roar nor lore door core
    post boast most roast ghost toast coast
    light might right night fight bite white kite sight
    """.strip().splitlines()
]

_ANSWERS = _phrases(
    """Yes|No|Maybe|Never|Not yet|Not now|Right|Left|Really|Later|Look|Listen|Nice|Lovely|Ready|Running late|Let me see|
    Let's go|Leave it|Nothing|Nobody knows|No problem|No way|None of them|Last night|Like this|Perhaps|Please|Probably|
    Perfect|Better|Before lunch|Both of them|By bus|Bring it back|Be my guest|My pleasure|Mine too|Many times|
    Most of them|Monday morning|Move over|Fine by me|Four or five|For free|Very well|Very funny|What for|Why not|
    Who is it|When|Where to|Wonderful|Wait|We will|Okay|Excuse me|I'm sorry|It is|Of course|All of it|Eleven|Open it|
    Up here|Ask him|And then|Every time|Only one|In a minute|At home|Tomorrow|Today|Tell me|Thanks|Good|Great|Go on|
    Come in|Call me|Keep going|Sure|Same here|Stop|Some more|So what|Hello|Hi there|How come|Hurry up|Yesterday|You too|
    Just a moment|Just you|Choose one|Check it|Goodbye|Welcome back|Absolutely|Exactly|Impossible|Remember me|Nonsense|
    Rubbish|Relax|Rest now|Round the back|Read it|Lower it|Lift it up|Lunch first|Next one|Number nine|New year|
    Neither of us|Not really|Likely|Long ago"""
)
_COMMANDS = _phrases(
    """open the window|close the door behind you|turn the lamp off|turn the volume up a bit|play some music|
    pause the film|remind me about lunch|move the box to the left|push the blue button|pull the lever back|
    put it over there|pick a number|remove the cover|lift your arm|lower the blinds|lock the front door|
    look up the weather|run a quick backup|read me the news|repeat the last part|reply to my brother|
    ring the bell twice|never mind the noise|name three flowers|note that down|nudge it forward|find my phone|fill the
    bottle|
    follow me please|fold the paper twice|wait for me|wake me at seven|wash your hands|watch your step|
    walk past the bank|make two more|measure both ends|mix it well|mind the gap|bring me the map|buy some milk|
    book a table for four|begin at the top|bend your knees|visit my website|verify the number|
    call the office|cancel the alarm|count to twenty|check the oven|choose another colour|show me the photos|
    shut it down|send the letter|set a timer for five minutes|stop right there|take the second left|tell me a story|
    type your password|think about it|throw it away|add it to the list|answer the phone|ask for the bill|
    use the other one|zoom out a little|go back home|give him a moment|hold the line|help me up|keep to the right"""
)
_STARTS = _phrases(
    """I think|I don't think|I'm pretty sure|I'm gonna bet|I've been told|I guess|I mean|I'd say|I wonder if|I bet|
    you know|you'd think|we both know|we've heard|they say|she told me|he said|it seems|it's like|
    it looks like|maybe|probably|of course|obviously|apparently|to be fair|by the way|what I mean is|the point is|
    the funny thing is|my problem is|my feeling is|well|so|and|but|or|because|look|listen|right|now|no|nope|
    remember|let's say|last I heard|rumour has it|never mind that|nobody believes|none of us knew|
    lots of people say|really|really I think|let me guess|frankly|for me|for what it's worth|before you ask|
    believe me|what if|why would you say|would you believe|d'you think|don't you think|did you know|could it be|
    isn't it odd that"""
)
_CLAUSES = _phrases(
    """we're gonna be late again|I wanna leave before five|he's kind of a funny man|she used to live near the river|
    it doesn't matter much|they could've been more careful|you should've told me about it|I'd love to come along|
    there's nobody in the room|that's what I've been saying all along|my mother makes a lovely apple pie|
    the last bus leaves at half past seven|nothing ever happens around here|our neighbours bought a new van|
    Robert won't remember my name|Lily never really liked rice|the light in the lobby is broken|
    people move on after a while|both of us were a bit afraid|I forgot to buy the bread|
    we'd better bring an umbrella|it rained all weekend long|the whole family came for breakfast|
    my father used to build model boats|everybody was waiting for the bell|he put the map in his back pocket|
    you might be able to borrow mine|somebody moved my papers|the baby's been up since four|
    I'll be there in about five minutes|we haven't met before|the movie was far too long|
    she's probably at work by now|the phone rang just as I left|no one knows where the money went|
    I never wanted to be famous|the lake was frozen over by Monday|a lot of rubbish was left on the road|
    reading at night ruins your eyes|the rest of the letters are in the drawer|
    nine out of ten people would agree|none of the lamps in the library work|
    my brother plays the piano pretty well|the price went up by five percent|this box is much too heavy for me|
    we missed the boat by a minute|the problem with maps is the folding|you've got paint on your elbow|
    her voice is warm and very deep|it was a pleasure to meet your wife|the river looks wonderful from above|
    what you want is a bit of patience|it's been ages since we had a proper chat|the coffee here is awful|
    I can't find my glasses anywhere|he asked for an extra pillow|the apples fell off the table|
    you need a licence for that|the rules are really rather simple|there'll be more of us next year|
    I'll have a look at it later on|we ran out of onions and rice|let's not rush into anything|
    she laughed and left the room|the old man fell asleep on the sofa|the train arrives at eleven forty|
    every week I visit my grandmother|it took them four months to finish it|the shop around the corner has moved|
    I'm not used to getting up early|he makes me laugh every time|they're both from Birmingham|
    some of it will have to wait|that would be a big improvement|we could meet in front of the museum|
    I've no idea what you mean|you're welcome to stay for supper|the oven should be warm enough|
    the puppy chewed up my slipper|a mouse ran under the floorboards|the wolf waited at the edge of the forest|
    my favourite month is February|a few of them have already been moved|the bubbles float up to the top|
    the boss wants it before lunch|who would've thought of that|what happened to the other pair|
    how many people are coming|where did you put my umbrella|why is everybody whispering|
    is there any more of that soup|did anyone feed the rabbit|have you ever been to Rome|are we nearly there|
    would you pass me the pepper|could you move up a bit|may I borrow a pen"""
)
_TAILS = _phrases(
    """you know|isn't it|or something|or whatever|I suppose|if you ask me|to be honest|more or less|most of the time|
    for now|by the way|as well|as far as I remember|maybe|probably|I'm afraid|believe me|anyway|right|
    like I said|once in a while|at least for me|what about you|don't you think|and so on|no matter what|
    one way or another|never again|as usual|right now|next week|last summer"""
)
_HESITATIONS = _phrases("um|uh|er|hmm|well um|uh no|um maybe|ah|oh|oh well|mm|let me think|I mean um|like|you know uh")
_NAMES = _words(
    """Pam Bob Mabel Philip Vivian Wendy Robert Linda Laura Nancy Nora Nelly Lily Rachel Ronnie Lenny Ralph Norman
    Emma Abby Ivy Oliver Amber Peter Barbara Martin Frances Victor William Rebecca Roberto Lorenzo Nina Noah Liam
    Maria Miriam Benjamin Phoebe Fiona Valerie Walter Tim Daniel Charlotte George Kim Henry Zoe Yvonne Theo Sophie"""
)
_PLURALS = _words(
    """pounds boxes months people meters miles forms fives women weeks rooms rabbits lemons lamps nights notes names
    apples oranges degrees percent dollars tickets kilos cups cookies songs hours zebras shirts chairs yards"""
)
_NUMBERS = _words(
    """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"""
)
_THINGS = _phrases(
    """a cup of tea|a pair of boots|the top of the hill|the name of the river|a loaf of bread|the rest of my life|
    a bit of luck|the middle of nowhere|a bunch of flowers|the back of the van|a number of people|the end of the film|
    plenty of room|lots of money|most of the time|one of my best friends|the lord of the manor|a map of Rome|
    piece by piece|more and more|bit by bit|left and right|over and over|up and down|word for word|page by page|
    salt and pepper|bread and butter|fish and chips|now or never|sooner or later|live and learn|rise and fall|
    milk and lemon|one by one|wet and windy|pots and pans|peace and love|rhythm and rhyme|night and morning"""
)
_LETTERS = _words("A B C D E F G H I J K L M N O P Q R S T U V W X Y Z P B M V F")


def _spoken_number(rng: random.Random) -> str:
    form = rng.randrange(4)
    if form == 0:
        return f"{rng.choice(_NUMBERS[18:])} {rng.choice(_NUMBERS[:9])}"
    if form == 1:
        return f"{rng.choice(_NUMBERS[:9])} hundred and {rng.choice(_NUMBERS)}"
    if form == 2:
        return f"{rng.choice(_NUMBERS[:9])} thousand {rng.choice(_NUMBERS[:9])} hundred"
    return rng.choice(_NUMBERS)


def rhymes(rng: random.Random) -> str:
    """One to five rhyming words, each after a pause or after "not", "or", "and"."""
    words = rng.choice(RHYMES)
    picked = rng.sample(words, min(len(words), rng.randint(1, 5)))
    joint = rng.choice((", ", ", ", ", ", ", not ", " or ", " and "))
    return joint.join(picked)


def answer(rng: random.Random) -> str:
    """An answer of one to four words, at times with a name or a second one."""
    said = rng.choice(_ANSWERS)
    form = rng.random()
    if form < 0.25:
        return f"{said}, {rng.choice(_NAMES)}"
    if form < 0.5:
        return f"{said}, {rng.choice(_ANSWERS).lower()}"
    return said


def command(rng: random.Random) -> str:
    """Something said to a machine or to someone in the same kitchen."""
    said = rng.choice(_COMMANDS)
    form = rng.random()
    if form < 0.2:
        return f"{rng.choice(_NAMES)}, {said}"
    if form < 0.35:
        return f"{said}, please"
    if form < 0.5:
        return f"{rng.choice(('now', 'right', 'let us', 'could you', 'would you', 'never', 'please'))} {said}"
    if form < 0.65:
        return f"{said}, and {rng.choice(_COMMANDS)}"
    return said


def count(rng: random.Random) -> str:
    """Numbers, amounts, times and letters one by one."""
    form = rng.randrange(5)
    if form == 0:
        return f"{_spoken_number(rng)} {rng.choice(_PLURALS)}"
    if form == 1:
        return " ".join(rng.choice(_NUMBERS[:10]) for _ in range(rng.randint(3, 8)))
    if form == 2:
        return ", ".join(rng.sample(_LETTERS, rng.randint(2, 6)))
    if form == 3:
        return f"at {rng.choice(_NUMBERS[:12])} {rng.choice(_NUMBERS[9:])} in the {rng.choice(('morning', 'evening'))}"
    return f"{rng.choice(_NUMBERS)} of {rng.choice(_NUMBERS)}, {_spoken_number(rng)}"


def remark(rng: random.Random) -> str:
    """One or two clauses of small talk with a beginning, a tail or a hesitation."""
    parts = []
    if rng.random() < 0.15:
        parts.append(rng.choice(_HESITATIONS) + ",")
    if rng.random() < 0.6:
        parts.append(rng.choice(_STARTS) + ("," if rng.random() < 0.25 else ""))
    parts.append(rng.choice(_CLAUSES))
    if rng.random() < 0.2:
        parts += [rng.choice((", and", ", but", "because", ", so", ", um,")), rng.choice(_CLAUSES)]
    elif rng.random() < 0.3:
        parts.append(", " + rng.choice(_TAILS))
    return " ".join(parts).replace(" ,", ",")


def thing(rng: random.Random) -> str:
    """One to three set phrases."""
    return rng.choice((", ", " and ")).join(rng.sample(_THINGS, rng.randint(1, 3)))


_FORMS: Final[list[tuple[Callable[[random.Random], str], float]]] = [
    (remark, 0.42),
    (rhymes, 0.14),
    (answer, 0.14),
    (command, 0.13),
    (count, 0.09),
    (thing, 0.08),
]


def talk(seed: int) -> Iterator[str]:
    """Yield everyday texts for ever, most of one to sixteen words. A seed fixes them all."""
    rng = random.Random(seed)
    forms, weights = zip(*_FORMS, strict=True)
    while True:
        text = rng.choices(forms, weights)[0](rng)
        yield text[0].upper() + text[1:] + rng.choice("....?!")
