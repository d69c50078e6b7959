"""p2pd.notify: what a manager hears, at both kinds of sockets, and that nobody else speaks for us."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.notify import MAX_STATUS, Notifier
from tests.fakes.supervised import Manager


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_what_a_manager_hears(tmp_path: Path, kind: str) -> None:
    address = str(tmp_path / "s") if kind == "path" else f"@p2pd-test-{os.getpid()}"
    with Manager(address) as manager:
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
        notifier = Notifier(environ)
        assert environ == {}
        assert (notifier.managed, notifier.watchdog_s) == (True, 3.0)
        notifier.ready("peer on\n1.2.3.4")
        assert manager.hear() == {"READY": "1", "STATUS": "peer on 1.2.3.4"}
        before = time.monotonic_ns() // 1000
        notifier.reloading()
        heard = manager.hear()
        assert heard["RELOADING"] == "1"
        assert before <= int(heard["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        notifier.alive()
        assert manager.hear() == {"WATCHDOG": "1"}
        notifier.status("x" * 1000)
        assert manager.hear() == {"STATUS": "x" * MAX_STATUS}
        notifier.stopping()
        assert manager.hear()["STOPPING"] == "1"
        notifier.close()
        notifier.alive()


@pytest.mark.parametrize("address", ["", "@", "relative", "vsock:2:1"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert (notifier.managed, notifier.watchdog_s) == (False, None)
    notifier.ready("x")
    notifier.close()


@pytest.mark.parametrize(
    ("microseconds", "pid"), [("", ""), ("0", ""), ("x", ""), ("-5", ""), ("1000000", "1"), ("1000000", "x")]
)
def test_a_watchdog_that_is_not_for_us(tmp_path: Path, microseconds: str, pid: str) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "s"), "WATCHDOG_USEC": microseconds, "WATCHDOG_PID": pid}
    notifier = Notifier(environ)
    assert notifier.watchdog_s is None
    notifier.close()


class Heard(logging.Handler):
    """What is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    handler, logger = Heard(), logging.getLogger("p2pd.notify")
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


def test_a_manager_that_went_away_is_told_of_once(tmp_path: Path, heard: list[str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "s")})
    for _ in range(3):
        notifier.alive()
    assert len(heard) == 1
    with Manager(str(tmp_path / "s")) as manager:
        notifier.alive()
        assert manager.hear() == {"WATCHDOG": "1"}
    notifier.alive()
    assert len(heard) == 2
    notifier.close()


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    with Manager(str(tmp_path / "s")):
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "s")})
        for _ in range(5000):
            notifier.status("x" * 200)
        notifier.close()
