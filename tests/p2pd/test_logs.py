"""p2pd.logs: the shape of lines, what is escaped and masked, and what is left out."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
from collections.abc import Iterator

import pytest

from p2pd import logs
from protocol.errors import LocalProtocolError
from protocol.keys import make_invite

NAME = "p2pd.net.test"


@pytest.fixture(autouse=True)
def _clean_slate(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger("p2pd")
    before = (root.handlers[:], root.level, root.propagate)
    monkeypatch.setattr(logs, "_spellings", set())
    yield
    root.handlers[:], root.level, root.propagate = before[0], before[1], before[2]


class Log:
    """A log into memory."""

    def __init__(self, style: str = "text", level: str = "info") -> None:
        self.stream = io.StringIO()
        self.handler = logs.setup(level, style, self.stream)
        self.log = logging.getLogger(NAME)

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def test_a_text_line_has_time_level_area_and_message() -> None:
    log = Log()
    log.log.warning("= %s and %d", "this", 7)
    (line,) = log.lines()
    moment, level, area, message = line.split(maxsplit=3)
    assert moment.count(":") == 2
    assert (level, area, message) == ("warning", "net.test", "= this and 7")


def test_a_json_line_is_one_object() -> None:
    log = Log("json")
    log.log.info("> %s", "päckchen")
    (line,) = log.lines()
    document = json.loads(line)
    assert document.pop("time").endswith("Z")
    assert document == {"level": "info", "area": NAME, "message": "> päckchen"}


def test_the_level_is_kept_and_a_second_setup_replaces_the_first() -> None:
    first = Log(level="warning")
    first.log.info("no")
    first.log.warning("yes")
    assert len(first.lines()) == 1
    second = Log(level="debug")
    second.log.debug("here")
    assert len(first.lines()) == 1
    assert len(second.lines()) == 1


@pytest.mark.parametrize("style", ["text", "json"])
def test_text_from_outside_cannot_make_lines_or_colours(style: str) -> None:
    log = Log(style)
    log.log.info("name %s", "a\nERROR forged\x1b[31m\u202egpj.exe\udc80")
    output = log.stream.getvalue()
    assert output.count("\n") == 1
    assert "\x1b" not in output
    assert "\u202e" not in output
    output.encode("utf-8")


@pytest.mark.parametrize("style", ["text", "json"])
def test_exceptions_are_logged_escaped(style: str) -> None:
    log = Log(style)
    try:
        raise ValueError("bad \x1b[31m name")
    except ValueError:
        log.log.exception("! failed")
    output = log.stream.getvalue()
    assert "ValueError" in output
    assert "\x1b" not in output
    if style == "json":
        assert len(log.lines()) == 1


def test_invites_are_masked_whatever_their_case() -> None:
    invite = make_invite(os.urandom(16))
    for text in (invite, invite.upper()):
        cleaned = logs.clean(f"joined with {text}, good")
        assert text[5:] not in cleaned
        assert cleaned == "joined with p2p1-..., good"


def test_registered_secrets_are_masked_in_every_spelling() -> None:
    for _ in range(20):
        key = os.urandom(32)
        logs.register_secret(key)
        spellings = [
            key.hex(),
            key.hex().upper(),
            base64.b64encode(key).decode(),
            base64.urlsafe_b64encode(key).decode(),
            base64.b32encode(key).decode(),
            base64.b32encode(key).decode().lower(),
            str(key),
        ]
        for spelling in spellings:
            cleaned = logs.clean(f"<{spelling}>")
            assert logs.MASK in cleaned
            assert spelling.strip("b'\"=") not in cleaned


def test_identifiers_stay_readable() -> None:
    logs.register_secret(os.urandom(32))
    content_id = os.urandom(32).hex()
    assert logs.clean(f"> {content_id}") == f"> {content_id}"


def test_short_secrets_are_not_taken() -> None:
    with pytest.raises(LocalProtocolError):
        logs.register_secret(b"abc")


class Clock:
    """Time by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def record(message: str, *args: object, about: str | None = None) -> logging.LogRecord:
    made = logging.LogRecord(NAME, logging.INFO, "", 0, message, args, None)
    if about is not None:
        made.about = about
    return made


def test_repeated_lines_are_counted() -> None:
    clock = Clock()
    repetition = logs.Repetition(clock)
    passed = [repetition.filter(record("! %s refused", "x")) for _ in range(25)]
    assert passed == [True] * 10 + [False] * 15
    assert repetition.filter(record("! %s refused", "y"))
    clock.now += logs.WINDOW
    late = record("! %s refused", "x")
    assert repetition.filter(late)
    assert late.getMessage() == "! x refused (15 more were left out)"
    again = record("! %s refused", "x")
    assert repetition.filter(again)
    assert again.getMessage() == "! x refused"


def test_lines_about_the_same_are_counted_together() -> None:
    repetition = logs.Repetition(Clock())
    passed = [repetition.filter(record(f"line {n}", about="10.0.0.1")) for n in range(12)]
    assert passed == [True] * 10 + [False] * 2
    assert repetition.filter(record("line 0", about="10.0.0.2"))


def test_what_is_counted_is_bounded() -> None:
    repetition = logs.Repetition(Clock())
    for number in range(3000):
        assert repetition.filter(record(f"line {number}"))
    assert len(repetition._seen) <= 512


def test_a_log_call_with_wrong_arguments_does_not_raise() -> None:
    log = Log()
    message = "%d of %d"
    log.log.info(message, "x")
    assert message in log.lines()[0]
