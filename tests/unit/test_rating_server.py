"""The rating form's server: raters must stay blind, answers whole, and nothing but the study's films may leave."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from perf.rating.__main__ import main
from perf.rating.answers import BadAnswer, read_answers
from perf.rating.clips import Content, make_study
from perf.rating.server import LONGEST_BODY, serve
from perf.rating.study import BadStudy, Clip, Pair, Study, load_study
from perf.rating.trials import APART, REPEATS, trials_of

CONDITIONS = ("geometry", "fast", "truth")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    clips = {}
    pairs = []
    for content in range(4):
        ids = []
        for number, condition in enumerate((*CONDITIONS, "broken")):
            clip = Clip(f"aa{content}{number}", condition, f"content {content}")
            (tmp_path / clip.file).write_bytes(bytes(range(100)))
            clips[clip.id] = clip
            ids.append(clip.id)
        pairs += [Pair(f"p{content}{a}{b}", (ids[a], ids[b])) for a, b in ((0, 1), (0, 2), (1, 2))]
        pairs.append(Pair(f"p{content}x", (ids[2], ids[3]), better=ids[2]))
    Study("a study", clips, tuple(pairs)).write(tmp_path)
    (tmp_path / "secret.txt").write_text("not for raters")
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[ThreadingHTTPServer]:
    running = serve(folder, load_study(folder), folder / "answers.jsonl", 8, ("127.0.0.1", 0))
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


Reply = tuple[int, bytes, dict[str, str]]


def ask(server: ThreadingHTTPServer, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None and "Content_Length" not in headers:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    reply = connection.getresponse()
    found = reply.status, reply.read(), dict(reply.getheaders())
    connection.close()
    return found


def post(server: ThreadingHTTPServer, path: str, said: Any) -> tuple[int, Any]:
    status, body, _ = ask(server, "POST", path, json.dumps(said).encode(), Content_Type="application/json")
    return status, json.loads(body)


def an_answer(rater: str, trial: int) -> dict[str, Any]:
    rating = {"naturalness": 4, "realism": 3, "expression": 5}
    return {
        "rater": rater,
        "trial": trial,
        "ratings": {"left": rating, "right": rating},
        "preference": "left",
        "seconds": 12.25,
        "plays": 2,
    }


def test_a_rater_answers_all_trials_and_the_file_can_be_analysed(server: ThreadingHTTPServer, folder: Path) -> None:
    _, state = post(server, "/api/session", {"consent": True, "rater": None})
    rater = state["rater"]
    count = 0
    while state["trial"]:
        assert state["trial"]["number"] == count
        assert ask(server, "GET", state["trial"]["left"])[0] == 200
        status, state = post(server, "/api/answer", an_answer(rater, count))
        assert status == 200
        count += 1
    answers = read_answers(folder / "answers.jsonl")
    assert len(answers) == count == 8 + REPEATS + 1
    assert {answer.check for answer in answers} == {None, "repeat", "broken"}
    assert next(answer for answer in answers if answer.check == "broken").better in ("left", "right")


def test_a_rater_goes_on_where_he_stopped_also_after_a_restart(server: ThreadingHTTPServer, folder: Path) -> None:
    _, state = post(server, "/api/session", {"consent": True})
    rater = state["rater"]
    _, before = post(server, "/api/answer", an_answer(rater, 0))
    again = serve(folder, load_study(folder), folder / "answers.jsonl", 3, ("127.0.0.1", 0))
    threading.Thread(target=again.serve_forever, args=(0.01,), daemon=True).start()
    _, after = post(again, "/api/session", {"consent": True, "rater": rater})
    again.shutdown()
    again.server_close()
    assert after["rater"] == rater
    assert after["trial"] == before["trial"]


def test_an_answer_sent_twice_is_kept_once_and_none_can_be_left_out(server: ThreadingHTTPServer, folder: Path) -> None:
    _, state = post(server, "/api/session", {"consent": True})
    for _ in range(2):
        status, state_after = post(server, "/api/answer", an_answer(state["rater"], 0))
        assert (status, state_after["trial"]["number"]) == (200, 1)
    assert post(server, "/api/answer", an_answer(state["rater"], 5))[0] == 409
    assert len(read_answers(folder / "answers.jsonl")) == 1


def test_nothing_sent_to_the_form_tells_how_a_film_was_made(server: ThreadingHTTPServer) -> None:
    _, state = post(server, "/api/session", {"consent": True})
    sent = json.dumps(state)
    for count in range(4):
        sent += json.dumps(post(server, "/api/answer", an_answer(state["rater"], count))[1])
    assert not any(word in sent for word in (*CONDITIONS, "broken", "check", "repeat", "content"))


@pytest.mark.parametrize(
    "path",
    [
        "/study.json",
        "/answers.jsonl",
        "/secret.txt",
        "/clips/../secret.txt",
        "/clips/..%2fsecret.txt",
        "/clips/%2e%2e/study.json",
        "//etc/passwd",
        "/../../../../etc/passwd",
        "/clips/aa00.mp4/",
        "/clips/aa00.mp4\\..\\secret.txt",
        "/clips/",
        "/form/index.html",
        "/clips/AA00.mp4",
        "/?a=b",
        "/" + "a" * 3000,
    ],
)
def test_no_path_leads_out_of_the_study(server: ThreadingHTTPServer, path: str) -> None:
    status, body, _ = ask(server, "GET", path)
    assert status == 404
    assert b"not for raters" not in body
    assert b"root:" not in body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"\xff\xfe", 400),
        (b"[" * 4000, 400),
        (b"null", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b'{"rater": "x"}', 400),
        (b" " * (LONGEST_BODY + 1), 413),
    ],
)
@pytest.mark.parametrize("path", ["/api/answer", "/api/session"])
def test_a_broken_body_is_refused_and_the_server_lives_on(
    server: ThreadingHTTPServer, folder: Path, path: str, body: bytes, status: int
) -> None:
    assert ask(server, "POST", path, body, Content_Type="application/json")[0] == status
    assert ask(server, "GET", "/")[0] == 200
    assert (folder / "answers.jsonl").read_text() == ""


@pytest.mark.parametrize("length", ["-1", "many", "1e3", "99999999999"])
def test_a_false_length_is_refused(server: ThreadingHTTPServer, length: str) -> None:
    status, _, headers = ask(
        server, "POST", "/api/answer", b"{}", Content_Type="application/json", Content_Length=length
    )
    assert status in (411, 413)
    assert headers["Connection"] == "close"


def test_other_sites_cannot_answer_in_a_raters_name(server: ThreadingHTTPServer) -> None:
    """A foreign page can post plain text without asking; what it would need to ask for is not granted."""
    said = json.dumps({"consent": True}).encode()
    assert ask(server, "POST", "/api/session", said, Content_Type="text/plain")[0] == 415
    status, _, headers = ask(server, "OPTIONS", "/api/session")
    assert status == 501
    assert not any(name.lower().startswith("access-control") for name in headers)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"preference": "<script>"}, "preference is '<script>'"),
        ({"seconds": -1}, "seconds is -1"),
        ({"trial": 1e400}, "trial is inf"),
        ({"ratings": {"left": {}, "right": {}}}, "ratings.left.naturalness is None"),
        ({"more": "x" * 100}, "the answer has 'more'"),
        ({"rater": "0" * 16}, "rater is not known"),
        ({"rater": ["0"]}, "rater is not known"),
    ],
)
def test_an_answer_out_of_range_is_refused_with_its_value(
    server: ThreadingHTTPServer, folder: Path, changed: dict[str, Any], words: str
) -> None:
    _, state = post(server, "/api/session", {"consent": True})
    status, reply = post(server, "/api/answer", an_answer(state["rater"], 0) | changed)
    assert status in (400, 404)
    assert words in reply["error"]
    assert read_answers(folder / "answers.jsonl") == []


@pytest.mark.parametrize("said", [{}, {"consent": False}, {"consent": "yes"}, {"consent": 1}])
def test_without_consent_nothing_is_kept(server: ThreadingHTTPServer, folder: Path, said: dict[str, Any]) -> None:
    assert post(server, "/api/session", said)[0] == 400
    assert (folder / "answers.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("wanted", "status", "sent"),
    [
        ("bytes=0-9", 206, bytes(range(10))),
        ("bytes=90-", 206, bytes(range(90, 100))),
        ("bytes=90-500", 206, bytes(range(90, 100))),
        ("bytes=100-", 416, b""),
        ("bytes=-5", 200, bytes(range(100))),
        ("lines=1-2", 200, bytes(range(100))),
    ],
)
def test_players_get_the_part_that_they_ask_for(
    server: ThreadingHTTPServer, wanted: str, status: int, sent: bytes
) -> None:
    assert ask(server, "GET", "/clips/aa00.mp4", Range=wanted)[:2] == (status, sent)


def test_the_form_loads_nothing_from_elsewhere(server: ThreadingHTTPServer) -> None:
    for path in ("/", "/form.js", "/form.css"):
        status, body, headers = ask(server, "GET", path)
        assert status == 200
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert b"http://" not in body
        assert b"https://" not in body


def test_no_button_is_disabled_with_the_keys_in_it(server: ThreadingHTTPServer) -> None:
    """In Firefox the focus of a disabled button takes every key: who begins, or goes on by Next, could not answer."""
    form = ask(server, "GET", "/form.js")[1].decode()
    assert form.count(".disabled = ") == 1
    assert re.search(r"if \(!may\) byId\(id\)\.blur\(\);\s+byId\(id\)\.disabled = !may;", form)


# ---- what a rater is shown


def test_trials_are_balanced_apart_and_the_same_each_time(folder: Path) -> None:
    study = load_study(folder)
    drawn = [trials_of(study, f"{rater:016x}", 9) for rater in range(60)]
    assert drawn[7] == trials_of(study, f"{7:016x}", 9)
    assert len({tuple(trial.pair.id for trial in trials) for trials in drawn}) > 50
    left = 0
    for trials in drawn:
        asked = [trial for trial in trials if trial.check is None]
        compared = [frozenset(study.clips[clip].condition for clip in trial.pair.clips) for trial in asked]
        assert sorted(compared.count(group) for group in set(compared)) == [3, 3, 3]
        contents = [trial.pair.id[1] for trial in asked]
        assert sum(one == other for one, other in itertools.pairwise(contents)) <= 1
        for place, trial in enumerate(trials):
            if trial.check == "repeat":
                first = next(other for other in trials if other.pair == trial.pair)
                assert (first.left, first.right) == (trial.right, trial.left)
                assert place - trials.index(first) > APART - 1
        assert trials[0].check is None
        left += sum(trial.left == trial.pair.clips[0] for trial in asked)
    assert 0.4 < left / (60 * 9) < 0.6


def test_no_content_comes_twice_in_a_row_with_checks_and_repetitions_among_the_trials() -> None:
    """Who has just seen a film spoilt, or the same pair, compares with that and not with the other film."""
    clips: dict[str, Clip] = {}
    pairs: list[Pair] = []
    for content in range(6):
        made = [Clip(f"aa{content}{number}", name, f"{content}") for number, name in enumerate((*CONDITIONS, "broken"))]
        clips |= {clip.id: clip for clip in made}
        pairs += [Pair(f"{one.id}{other.id}", (one.id, other.id)) for one, other in itertools.combinations(made[:3], 2)]
        pairs.append(Pair(f"{content}x", (made[2].id, made[3].id), better=made[2].id))
    study = Study("a study", clips, tuple(pairs))
    beside = 0
    for rater in range(100):
        trials = trials_of(study, f"{rater:016x}", 18)
        assert [trial.check for trial in trials].count("broken") == 2
        beside += any(clips[a.left].content == clips[b.left].content for a, b in itertools.pairwise(trials))
    assert beside <= 5  # where the order leaves no other place


def test_few_pairs_make_a_short_session(folder: Path) -> None:
    study = load_study(folder)
    assert len([trial for trial in trials_of(study, "0", 1000) if trial.check is None]) == len(study.tests)
    assert len([trial for trial in trials_of(study, "0", 1) if trial.check is None]) == 1


# ---- what a study may be


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        (("clips", 0, "id"), "../up", "a clip's id is '../up'"),
        (("clips", 0, "id"), "aaaa0", "aaaa0.mp4 is missing"),
        (("pairs", 0, "clips"), ["aa00", "aa13"], "expected one content"),
        (("pairs", 0, "clips"), ["aa00", "zz"], "has the clip 'zz', which is not listed"),
        (("pairs", 3, "better"), "aa00", "is not one of the two"),
        (("pairs", 1, "id"), "p001", "two pairs have the same id"),
        (("version",), 9, "version is 9, expected 1"),
        (("pairs",), None, "lacks an entry"),
    ],
)
def test_a_wrong_study_is_refused_before_anybody_answers(
    folder: Path, entry: tuple[Any, ...], value: Any, words: str
) -> None:
    kept = json.loads((folder / "study.json").read_text())
    place = kept
    for key in entry[:-1]:
        place = place[key]
    place[entry[-1]] = value
    (folder / "study.json").write_text(json.dumps(kept))
    with pytest.raises(BadStudy, match=words):
        load_study(folder)


def test_a_folder_without_a_study_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BadStudy, match=r"python -m perf\.rating clips"):
        load_study(tmp_path)


def test_answers_of_another_study_are_not_gone_on_with(folder: Path) -> None:
    """Two studies in one file: a rater would skip trials of the second, and the analysis would mix both."""
    line = {"kind": "answer", "rater": "0" * 16, "trial": 0, "pair": "elsewhere"}
    (folder / "answers.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(BadAnswer, match=r"answers\.jsonl, line 1: pair 'elsewhere' is of another study"):
        serve(folder, load_study(folder), folder / "answers.jsonl", 8, ("127.0.0.1", 0))


@pytest.mark.parametrize("line", ['{"kind": "answ', "[]", '{"kind": "session"}'])
def test_a_broken_line_is_named_before_anybody_answers(folder: Path, line: str) -> None:
    """As a power cut leaves it: the next answer would be written behind it, and both be lost."""
    (folder / "answers.jsonl").write_text(line)
    with pytest.raises(BadAnswer, match=r"answers\.jsonl, line 1"):
        serve(folder, load_study(folder), folder / "answers.jsonl", 8, ("127.0.0.1", 0))


def test_a_taken_port_is_named(server: ThreadingHTTPServer, folder: Path) -> None:
    port = server.server_address[1]
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port} .*--port"):
        serve(folder, load_study(folder), folder / "answers.jsonl", 8, ("127.0.0.1", port))


# ---- what is to be drawn


@pytest.mark.parametrize(
    "compared", [[("fast", "fasst")], [("fast", "fast")], [("fast", "geometry"), ("fast", "high")]]
)
def test_a_mistyped_comparison_is_told_before_films_are_drawn(tmp_path: Path, compared: list[tuple[str, str]]) -> None:
    """Drawing takes hours, and a comparison that was left out without a word is missed at the analysis."""

    def never() -> list[Any]:
        raise AssertionError("a film was drawn")

    content = Content("somebody", None, {"fast": never, "geometry": never})
    with pytest.raises(ValueError, match=r"expected two conditions of one content: fast, geometry"):
        make_study(tmp_path / "new", "a study", [content], compared)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["clips", "new", "--seconds", "0"], "--seconds is 0.0, expected 1 or more"),
        (["clips", "new", "--speech", "0"], "--speech is 0, expected 1 or more"),
        (["clips", "new", "--rows", "fasst", "still"], "rows has 'fasst', expected some of geometry"),
        (["serve", "FOLDER", "--port", "70000"], "--port is 70000"),
        (["serve", "FOLDER", "--per-rater", "0"], "--per-rater is 0"),
    ],
)
def test_wrong_options(folder: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder) if word == "FOLDER" else word for word in words]) == 2
    assert told in capsys.readouterr().err
