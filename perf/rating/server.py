"""The server of the rating form: a few fixed addresses, nothing else, on the standard library alone.

    GET  /, /form.js, /form.css     the form
    GET  /clips/ID.mp4              a clip of the study, in parts where asked (Range)
    POST /api/session               {"consent": true, "rater": number or null} -> number, count of trials, next trial
    POST /api/answer                {"rater", "trial", "ratings", "preference", "seconds", "plays"} -> next trial

Answers are appended to a file line by line and are on the disk before the form hears of it. What a browser may ask for
is matched whole against what there is, so no path of a request ever reaches the file system.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import secrets
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from perf.rating.answers import SCALES, SCHEMA, BadAnswer, checked_answer
from perf.rating.study import Study
from perf.rating.trials import Trial, trials_of

FORM: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/form.js": ("form.js", "text/javascript; charset=utf-8"),
    "/form.css": ("form.css", "text/css; charset=utf-8"),
}
LONGEST_BODY: Final = 4096
"""Bytes; an answer has about 250."""
MOST_SESSIONS: Final = 2000
"""So that nobody fills the disk with new sessions."""
PATIENCE_S: Final = 30.0
"""A connection that says nothing for so long is closed."""
_HEADERS: Final = {
    # data: for the page's empty icon, which saves a request for one that is not there.
    "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_RATER: Final = re.compile(r"[0-9a-f]{16}")


class Refused(Exception):
    """A request that is answered with an error; `status` and a text for whoever sent it."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Rating:
    """Sessions and answers of one study. Thread-safe."""

    def __init__(self, study: Study, results: Path, per_rater: int) -> None:
        """Take up what `results` holds already, so that raters can go on after a restart.

        Raises:
            BadAnswer: a line of `results` is broken, or of another study; the text names its number.
        """
        self._study = study
        self._results = results
        self._per_rater = per_rater
        self._lock = threading.Lock()
        self._answered: dict[str, set[int]] = {}
        self._counts: dict[str, int] = {}
        if results.exists():
            self._take_up()

    def _take_up(self) -> None:
        pairs = {pair.id for pair in self._study.pairs}
        with self._results.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    said = json.loads(line)
                    if said["kind"] == "answer" and said["pair"] not in pairs:
                        raise BadAnswer(f"pair {said['pair']!r} is of another study: name another file by --results")
                    self._remember(said)
                except (KeyError, TypeError) as error:
                    raise BadAnswer(f"{self._results}, line {number} is no answer: {error!r}") from error
                except ValueError as error:
                    raise BadAnswer(f"{self._results}, line {number}: {error}") from error

    def _remember(self, said: Mapping[str, Any]) -> None:
        if said["kind"] == "session":
            self._answered.setdefault(said["rater"], set())
            self._counts[said["rater"]] = said["asked"]
        else:
            self._answered.setdefault(said["rater"], set()).add(said["trial"])

    def _keep(self, said: Mapping[str, Any]) -> None:
        with self._results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _trials(self, rater: str) -> list[Trial]:
        return trials_of(self._study, rater, self._counts[rater])

    def begin(self, said: Any) -> dict[str, Any]:
        """Begin a session, or go on with one.

        Raises:
            Refused: no consent, or there are too many sessions.
        """
        if not isinstance(said, dict) or said.get("consent") is not True:
            raise Refused(HTTPStatus.BAD_REQUEST, "consent is missing: without it nothing is asked and nothing kept")
        rater = said.get("rater")
        with self._lock:
            if not (isinstance(rater, str) and rater in self._answered):
                if len(self._answered) >= MOST_SESSIONS:
                    raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "this study has all the raters that it takes")
                rater = secrets.token_hex(8)
                session = {
                    "schema": SCHEMA,
                    "kind": "session",
                    "rater": rater,
                    "study": self._study.title,
                    "asked": self._per_rater,
                    "at": _now()[:10],
                }
                self._keep(session)
                self._remember(session)
            return {"rater": rater, **self._next(rater)}

    def answer(self, said: Any) -> dict[str, Any]:
        """Keep an answer; return the next trial. An answer that was sent twice is kept once.

        Raises:
            BadAnswer: it does not keep to the schema.
            Refused: nobody asked this, or not yet.
        """
        checked = checked_answer(said)
        rater = said.get("rater")
        with self._lock:
            if not isinstance(rater, str) or not _RATER.fullmatch(rater) or rater not in self._answered:
                raise Refused(HTTPStatus.NOT_FOUND, "rater is not known: reload the page to begin")
            trials = self._trials(rater)
            number = checked["trial"]
            if number in self._answered[rater]:
                return self._next(rater)
            if number != len(self._answered[rater]) or number >= len(trials):
                raise Refused(HTTPStatus.CONFLICT, f"trial is {number}, expected {len(self._answered[rater])}")
            trial = trials[number]
            kept = {
                "schema": SCHEMA,
                "kind": "answer",
                "rater": rater,
                "trial": number,
                "pair": trial.pair.id,
                "content": self._study.clips[trial.left].content,
                "check": trial.check,
                "better": self._better(trial),
                **{
                    side: {
                        "clip": clip,
                        "condition": self._study.clips[clip].condition,
                        **checked["ratings"][side],
                    }
                    for side, clip in (("left", trial.left), ("right", trial.right))
                },
                **{key: checked[key] for key in ("preference", "seconds", "plays")},
                "at": _now(),
            }
            self._keep(kept)
            self._remember(kept)
            return self._next(rater)

    @staticmethod
    def _better(trial: Trial) -> str | None:
        if trial.check != "broken":
            return None
        return "left" if trial.pair.better == trial.left else "right"

    def _next(self, rater: str) -> dict[str, Any]:
        """What the form shows next: no condition, no hint which trial is a check."""
        trials = self._trials(rater)
        done = len(self._answered[rater])
        shown = None
        if done < len(trials):
            trial = trials[done]
            shown = {"number": done, "left": f"/clips/{trial.left}.mp4", "right": f"/clips/{trial.right}.mp4"}
            if done + 1 < len(trials):
                following = trials[done + 1]
                shown["soon"] = [f"/clips/{clip}.mp4" for clip in (following.left, following.right)]
        return {"trials": len(trials), "scales": list(SCALES), "trial": shown}


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%MZ")


def serve(folder: Path, study: Study, results: Path, per_rater: int, address: tuple[str, int]) -> ThreadingHTTPServer:
    """Return a server of the study of `folder`, bound to `address` and not yet running.

    Raises:
        BadAnswer: `results` has a line that is broken, or of another study.
        OSError: the address is taken, or `results` cannot be written.
    """
    results.parent.mkdir(parents=True, exist_ok=True)
    results.open("a").close()
    rating = Rating(study, results, per_rater)
    clips = {f"/clips/{clip.file}": folder / clip.file for clip in study.clips.values()}
    form = {
        path: (Path(__file__).with_name("form").joinpath(name).read_bytes(), kind)
        for path, (name, kind) in FORM.items()
    }

    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"
        server_version = "facestream-rating"
        sys_version = ""
        timeout = PATIENCE_S

        def do_GET(self) -> None:
            self._answer_with(self._get)

        def do_HEAD(self) -> None:
            self._answer_with(self._get)

        def do_POST(self) -> None:
            self._answer_with(self._post)

        def _answer_with(self, handle: Any) -> None:
            try:
                handle()
            except BadAnswer as error:
                self._error(HTTPStatus.BAD_REQUEST, str(error))
            except Refused as error:
                self._error(error.status, str(error))
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                self.close_connection = True

        def _get(self) -> None:
            if self.path in form:
                body, kind = form[self.path]
                self._send(HTTPStatus.OK, body, kind)
            elif self.path in clips:
                self._film(clips[self.path])
            else:
                raise Refused(HTTPStatus.NOT_FOUND, "there is nothing here")

        def _film(self, path: Path) -> None:
            size = path.stat().st_size
            first, last, status = 0, size - 1, HTTPStatus.OK
            asked = re.fullmatch(r"bytes=(\d{1,12})-(\d{0,12})", self.headers.get("Range", ""))
            if asked:
                first, last = int(asked[1]), min(int(asked[2]) if asked[2] else size - 1, size - 1)
                if first > last:
                    self._send(
                        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                        b"",
                        "video/mp4",
                        {"Content-Range": f"bytes */{size}"},
                    )
                    return
                status = HTTPStatus.PARTIAL_CONTENT
            with path.open("rb") as file:
                file.seek(first)
                body = file.read(last - first + 1)
            extra = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=86400"}
            if asked:
                extra["Content-Range"] = f"bytes {first}-{last}/{size}"
            self._send(status, body, "video/mp4", extra)

        def _post(self) -> None:
            actions = {"/api/session": rating.begin, "/api/answer": rating.answer}
            said = self._body()
            if self.path not in actions:
                raise Refused(HTTPStatus.NOT_FOUND, "there is nothing here")
            reply = actions[self.path](said)
            self._send(HTTPStatus.OK, json.dumps(reply).encode(), "application/json")

        def _body(self) -> Any:
            # Another site's page can post text here, but not this type without asking first: that is refused.
            if self.headers.get_content_type() != "application/json":
                self.close_connection = True
                raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type is to be application/json")
            length = self.headers.get("Content-Length", "")
            if not re.fullmatch(r"\d{1,9}", length):
                self.close_connection = True
                raise Refused(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing or no number")
            if int(length) > LONGEST_BODY:
                self.close_connection = True
                raise Refused(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has {length} bytes, at most {LONGEST_BODY}"
                )
            body = self.rfile.read(int(length))
            try:
                return json.loads(body.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise Refused(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {type(error).__name__}") from error

        def _error(self, status: HTTPStatus, text: str) -> None:
            self._send(status, json.dumps({"error": text}).encode(), "application/json")

        def _send(self, status: HTTPStatus, body: bytes, kind: str, extra: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {**_HEADERS, **(extra or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: addresses of raters are nobody's business."""

    try:
        server = ThreadingHTTPServer(address, Handler)
    except OSError as error:
        where = f"{address[0]}:{address[1]}"
        raise OSError(f"cannot listen on {where} ({error.strerror}): choose others by --host, --port") from error
    server.daemon_threads = True
    return server
