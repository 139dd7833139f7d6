"""Text before it is spoken: what is refused and where, marks, and sentences as they come."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import numpy as np
import pytest
from facestream.contract import TEXT_BYTES
from facestream.errors import BadInput
from facestream.parameters import EMOTIONS
from facestream.tts.exchange import MAX_CHARACTERS, check_whole_text
from facestream.tts.marks import Passage, decode_text, escape, parse
from facestream.tts.sentences import MAX_SENTENCE, sentences
from facestream.tts.tensors import check_speed, encode_text, encode_voice, read_text, read_voice


def shown(passages: list[Passage]) -> list[tuple[str, float, dict[str, float]]]:
    """Passages with emotions by name, rounded; those that only change the emotion left out."""
    return [
        (p.text, p.pause_s, {n: round(float(v), 3) for n, v in zip(EMOTIONS, p.emotion, strict=True) if v})
        for p in passages
        if p.text or p.pause_s
    ]


def test_marks_take_effect_at_their_place() -> None:
    """A smile that comes a sentence late is worse than none."""
    text = "Hi. [happy 0.7] Great! [pause 0.5] [sad 0.4, surprised] Oh. [neutral] Fine."
    assert shown(list(parse(text))) == [
        ("Hi.", 0.0, {}),
        ("Great!", 0.0, {"happy": 0.7}),
        ("", 0.5, {"happy": 0.7}),
        ("Oh.", 0.0, {"sad": 0.4, "surprised": 1.0}),
        ("Fine.", 0.0, {"neutral": 1.0}),
    ]


def test_emotion_before_the_first_mark_is_the_callers() -> None:
    angry = np.eye(len(EMOTIONS), dtype=np.float32)[EMOTIONS.index("angry")]
    assert shown(list(parse("Go. [happy] Stay.", angry))) == [
        ("Go.", 0.0, {"angry": 1.0}),
        ("Stay.", 0.0, {"happy": 1.0}),
    ]


def test_mark_at_the_very_end_counts_for_the_text_that_follows() -> None:
    """Text that comes in pieces is parsed sentence by sentence."""
    assert next(iter(list(parse("Bye. [sad]"))[-1:])).emotion[EMOTIONS.index("sad")] == 1.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\nb [hapy] c", "the mark '[hapy]' at line 2, character 3: 'hapy' is none"),
        ("[happy", "the mark '[happy' at line 1, character 1 has no closing ']'"),
        ("[pause]", "expected [pause SECONDS]"),
        ("[pause 11]", "a pause of 11 s; expected 0 to 10 s"),
        ("[pause -1]", "a pause of -1 s"),
        ("[pause nan]", "a pause of nan s"),
        ("[happy 1.5]", "EMOTION[happy] is 1.5"),
        ("[happy nan]", "EMOTION[happy] is nan"),
        ("[happy much]", "'much' is no number"),
        ("[happy, happy]", "'happy' stands in it twice"),
        ("[]", "'' is none"),
        ("[" + "x" * 10_000 + "]", "..."),
    ],
)
def test_wrong_marks_are_told_with_their_place(text: str, told: str) -> None:
    """Silently spoken, 'left bracket hapy' would end up in somebody's film."""
    with pytest.raises(BadInput) as error:
        list(parse(text))
    assert told in str(error.value)
    assert len(str(error.value)) < 30_000


def test_an_unknown_mark_lists_the_eight_emotions() -> None:
    with pytest.raises(BadInput) as error:
        list(parse("[joy]"))
    assert all(name in str(error.value) for name in EMOTIONS)
    assert r"\[" in str(error.value)


def test_brackets_can_be_spoken() -> None:
    """Text of strangers goes through `escape`, or they would direct the face."""
    assert shown(list(parse(r"see \[happy\] and C:\dir"))) == [(r"see [happy] and C:\dir", 0.0, {})]
    for text in ("a [happy] b", r"\[", "[[", "]", r"x\\[", "\\"):
        assert [passage.text for passage in parse(escape(text))] == [text]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the text is empty"),
        (" \n\t ", "the text is empty"),
        ("ab\x07c", "a control character, U+0007, at line 1, character 3"),
        ("ab\ncd\x00", "U+0000, at line 2, character 3"),
        ("a\x85b", "U+0085"),
        ("a\ud800", "half of a surrogate pair, U+D800"),
        ("[happy] [pause 0]", "nothing to speak"),
        ("x" * (MAX_CHARACTERS + 1), "1,000,001 characters; expected at most 1,000,000"),
    ],
)
def test_what_cannot_be_spoken_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadInput) as error:
        check_whole_text(text)
    assert told in str(error.value)


def test_bytes_that_are_not_utf8_are_told_with_their_place() -> None:
    """A file in Latin-1 is the most frequent wrong file."""
    with pytest.raises(BadInput, match="byte 0xFC at line 2, character 2"):
        decode_text("ja\nfür".encode("latin-1"))
    assert decode_text(b"\xef\xbb\xbfok") == "ok"


def test_tensors_carry_text_and_voice() -> None:
    """What the client writes is what the stage reads; what does not fit is refused before it is cut."""
    assert read_text(encode_text("grüße, 世界")) == "grüße, 世界"
    assert len(encode_text("x")) == TEXT_BYTES
    assert read_voice(encode_voice("en-us+f3")) == "en-us+f3"
    assert read_voice(encode_voice("")) == ""
    with pytest.raises(BadInput, match="2049 bytes"):
        encode_text("x" * (TEXT_BYTES + 1))
    for name in ("../../etc/passwd", "a b", "x" * 65, "é", "a\0b"):
        with pytest.raises(BadInput, match="is no name"):
            encode_voice(name)
    for speed in (0.49, 2.01, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="speed is"):
            check_speed(speed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello. How are you?  Fine!", ["Hello.", "How are you?", "Fine!"]),
        ("Dr. Smith, e.g. me, has 3.5 cats. Yes.", ["Dr. Smith, e.g. me, has 3.5 cats.", "Yes."]),
        ('"Really?" she said... Yes!', ['"Really?" she said...', "Yes!"]),
        ("J. R. R. Tolkien wrote. Then he slept.", ["J. R. R. Tolkien wrote.", "Then he slept."]),
        ("Am 3. Mai 2020. Dann ging er.", ["Am 3. Mai 2020.", "Dann ging er."]),
        ("We met on Jan. 5 in No. 7. Then we left.", ["We met on Jan. 5 in No. 7. Then we left."]),
        ("Did he? No. He did not.", ["Did he?", "No.", "He did not."]),
        ("[happy] She has a Ph.D. in maths. So.", ["[happy] She has a Ph.D. in maths.", "So."]),
        ("Das war am 22. Nov. 2026, vgl. Art. 3 Abs. 2. Ja.", ["Das war am 22. Nov. 2026, vgl. Art. 3 Abs. 2. Ja."]),
        ("Cela dure env. 5 min. de plus. Oui.", ["Cela dure env. 5 min. de plus.", "Oui."]),
        ("Está en EE. UU. desde el 3 de feb. 2020. Sí.", ["Está en EE. UU. desde el 3 de feb. 2020.", "Sí."]),
        ("[happy] hello. how are you. fine.", ["[happy] hello.", "how are you.", "fine."]),
        ("Er kam. 1990 war das.", ["Er kam.", "1990 war das."]),
        ("你好。世界！好", ["你好。", "世界！", "好"]),
        ("A title\n\nA text\nin lines.", ["A title", "A text\nin lines."]),
        ("[happy 0.7] Hi. [pause 1.5] Bye", ["[happy 0.7] Hi.", "[pause 1.5] Bye"]),
        ("...", ["..."]),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    """A cut in the wrong place is heard as a stop in mid-sentence."""
    assert list(sentences(text)) == expected


def test_long_sentences_are_cut_where_it_is_heard_least() -> None:
    words = list(sentences("word, " * 200))
    assert all(len(sentence) <= MAX_SENTENCE and sentence.endswith(",") for sentence in words)
    assert [len(sentence) for sentence in sentences("x" * 1000)] == [300, 300, 300, 100]
    marked = "word " * 58 + "[surprised 0.5] " + "word " * 100
    assert all(sentence.count("[") == sentence.count("]") for sentence in sentences(marked))


def test_sentences_come_as_they_are_written() -> None:
    """With a language model that writes for a minute, speech must begin after the first sentence."""
    written: list[str] = []

    def tokens() -> Iterator[str]:
        for token in ("Hel", "lo", ".", " How", " are", " you?"):
            written.append(token)
            yield token

    found = sentences(tokens())
    assert next(found) == "Hello."
    assert written == ["Hel", "lo", ".", " How"]
    assert list(found) == ["How are you?"]


def test_any_text_comes_out_whole_however_it_comes() -> None:
    """No character may be lost or said twice, and pieces must not change what is said."""
    choice = random.Random(1)
    for _ in range(300):
        text = "".join(choice.choice('ab. ,!?\n[]\\1"。') for _ in range(choice.randrange(1, 1200)))
        whole = list(sentences(text))
        assert "".join("".join(whole).split()) == "".join(text.split())
        assert max(map(len, whole), default=0) <= MAX_SENTENCE
        assert list(sentences(iter(text))) == whole
        assert list(sentences(["", text])) == whole


def test_a_long_piece_without_an_end_takes_no_longer_than_its_length() -> None:
    """Thai has no full stops, and a file may come in one piece: what takes the square of it never comes to a sound."""
    text = "\u0e01" * 60_000
    began = time.process_time()
    assert len(list(sentences([text]))) == 60_000 // MAX_SENTENCE
    assert time.process_time() - began < 1.5


def test_a_cut_leaves_a_backslash_with_what_it_stands_for() -> None:
    """Apart from its backslash the bracket becomes a mark that nobody wrote, and the text is refused for it."""
    for escaped in ("\\[b", "\\\\[happy]"):  # a bracket; a backslash, and then a mark
        first, second, *_ = sentences("a" * (MAX_SENTENCE - 1) + escaped + "c" * (2 * MAX_SENTENCE))
        assert first == "a" * (MAX_SENTENCE - 1)
        assert second.startswith(escaped)


def test_a_bracket_that_is_never_closed_is_no_mark() -> None:
    """Of strangers' texts, which `escape` makes safe, one with a half-open interval was refused, or not cut at all."""
    text = escape("The interval [0, 1) is half open. It holds 0.")
    assert list(sentences(text)) == [escape("The interval [0, 1) is half open."), "It holds 0."]
    long = escape(
        "We looked at the interval [0, 1) and at those beside it, " + "and then at the next one, " * 20 + "all."
    )
    said = [passage.text for sentence in sentences(long) for passage in parse(sentence)]
    assert len(said) > 1
    assert " ".join(said) == long.replace("\\", "")
    assert list(sentences("[sad 0.4. x] Hello. You.")) == ["[sad 0.4. x] Hello.", "You."]  # a mark is not cut


def test_a_long_sentence_behind_another_is_cut_at_its_comma_too() -> None:
    """A cut in the middle of a clause is heard as a stumble."""
    first = "This is one that says little, " + "and says it again and again, " * 8 + "to its end."
    second = "And here " + "come more words " * 11 + "than one breath can carry, " + "and they do not end " * 10
    assert list(sentences([f"{first} {second}"]))[:2] == [first, second[: second.index(",") + 1]]
