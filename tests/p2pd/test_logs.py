"""p2pd.logs: the shape of lines, what is escaped and masked, and what is left out."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2pd import logflood, logs
from p2pd.logfile import LogFile
from protocol.errors import LocalProtocolError
from protocol.keys import make_invite

NAME = "p2pd.net.test"


@pytest.fixture(autouse=True)
def _clean_slate(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("p2pd", "asyncio")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    monkeypatch.setattr(logs, "_spellings", set())
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate


class Log:
    """A log into memory."""

    def __init__(
        self,
        style: str = "text",
        level: str = "info",
        to_journal: bool = False,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.stream = io.StringIO()
        self.handler = logs.setup(
            level, style, self.stream, to_journal=to_journal, clock=clock or time.monotonic
        )
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


def test_a_flood_is_counted_and_told_when_it_is_over() -> None:
    clock = Clock()
    log = Log(clock=clock)
    for _ in range(322):
        log.log.warning("! %s refused", "x\x1b")
    log.log.info("= other")
    assert len(log.lines()) == 11
    clock.now += logflood.WINDOW
    log.handler.sweep()
    assert len(log.lines()) == 12
    assert log.lines()[-1].endswith(r"warning net.test     ... 312 more like this: ! x\u{1b} refused")
    log.log.warning("! %s refused", "x\x1b")
    assert len(log.lines()) == 13


def test_the_end_tells_what_was_left_out() -> None:
    log = Log(clock=Clock())
    for _ in range(12):
        log.log.info("= same")
    log.handler.finish()
    assert log.lines()[-1].endswith("... 2 more like this: = same")


def test_the_next_line_tells_of_a_flood_before_it() -> None:
    clock = Clock()
    log = Log(clock=clock)
    for _ in range(11):
        log.log.info("= same")
    clock.now += logflood.WINDOW
    log.log.info("= other")
    assert [line.split("= ", 1)[-1] for line in log.lines()[-2:]] == ["same", "other"]
    assert "1 more like this" in log.lines()[-2]


def test_lines_about_the_same_are_counted_together() -> None:
    log = Log(clock=Clock())
    for number in range(12):
        log.log.info(f"line {number}", extra={"about": "10.0.0.1"})
    assert len(log.lines()) == 10
    log.log.info("line 0", extra={"about": "10.0.0.2"})
    assert len(log.lines()) == 11


def test_the_lines_are_in_memory_too() -> None:
    log = Log("json")
    log.log.info("> %s", "a\nb")
    lines, last = log.handler.ring.newest(10, "debug")
    assert [(number, line.level, line.area, line.message) for number, line in lines] == [
        (1, "info", NAME, r"> a\u{a}b")
    ]
    assert last == 1


def test_the_journal_gets_priorities_and_no_time() -> None:
    log = Log(to_journal=True)
    log.log.error("! bad")
    try:
        raise ValueError("x")
    except ValueError:
        log.log.exception("! worse")
    log.log.debug("never")
    assert log.lines()[0] == "<3>error   net.test     ! bad"
    assert all(line.startswith("<3>") for line in log.lines())
    assert len(log.lines()) > 3


def test_json_for_the_journal_has_its_priority_too() -> None:
    log = Log("json", to_journal=True)
    log.log.warning("w")
    assert log.lines()[0].startswith('<4>{"time": ')


def test_whether_a_descriptor_is_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "f").open("w") as stream:
        status = os.fstat(stream.fileno())
        said = f"{status.st_dev}:{status.st_ino}"
        assert logs.journal({"JOURNAL_STREAM": said}, stream.fileno())
        assert not logs.journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}, stream.fileno())
        for text in ("", "1", "a:b"):
            assert not logs.journal({"JOURNAL_STREAM": text}, stream.fileno())
    assert not logs.journal({"JOURNAL_STREAM": said}, -1)


def test_a_file_besides_with_the_day(tmp_path: Path) -> None:
    log = Log()
    first, second = LogFile(tmp_path / "a", 1 << 20, 1), LogFile(tmp_path / "b", 1 << 20, 1)
    log.handler.set_file(first)
    log.log.info("= one")
    log.handler.set_file(second)
    log.handler.style = "json"
    log.log.info("= two")
    log.handler.set_file(None)
    log.log.info("= three")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} info    net.test     = one\n", (tmp_path / "a").read_text()
    )
    assert json.loads((tmp_path / "b").read_text())["message"] == "= two"
    assert len(log.lines()) == 3


def test_a_stream_that_is_gone_costs_lines_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log()
    log.stream.close()
    log.log.error("! nobody sees this")
    assert log.handler.ring.last() == 1
    assert capsys.readouterr().err == ""


def test_the_event_loop_is_heard() -> None:
    log = Log()
    logging.getLogger("asyncio").error("Task was destroyed but it is pending!")
    assert "asyncio      Task was destroyed" in log.lines()[0]


def test_a_log_call_with_wrong_arguments_does_not_raise() -> None:
    log = Log()
    message = "%d of %d"
    log.log.info(message, "x")
    assert message in log.lines()[0]
