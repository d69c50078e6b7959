"""Progress: where it goes, and that nothing from elsewhere reaches the terminal raw."""

from __future__ import annotations

import json
import sys

import pytest

from p2pctl import progress
from tests.fakes.screens import FakeTerminal

EVENT = {
    "transfer": "t-1",
    "name": "a[bold]\x1b.txt",
    "state": "downloading",
    "received_bytes": 512,
    "size_bytes": 1024,
    "rate_bytes_per_s": 1024,
    "eta_s": 0.5,
    "sources": 1,
}


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a terminal in place of sys.stderr; not in a fixture, whose stream pytest would replace."""
    monkeypatch.setattr(sys, "stderr", FakeTerminal())
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("mode", "quiet", "kind"),
    [
        ("auto", False, progress.Silent),
        ("auto", True, progress.Silent),
        ("off", False, progress.Silent),
        ("bar", False, progress.Lines),
        ("json", True, progress.JsonLines),
    ],
)
def test_in_a_pipe(mode: str, quiet: bool, kind: type) -> None:
    assert type(progress.make(mode, quiet, True)) is kind


@pytest.mark.parametrize(
    ("mode", "quiet", "kind"),
    [
        ("auto", False, progress.Late),
        ("auto", True, progress.Silent),
        ("off", False, progress.Silent),
        ("bar", True, progress.Late),
    ],
)
def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch, mode: str, quiet: bool, kind: type) -> None:
    on_terminal(monkeypatch)
    assert type(progress.make(mode, quiet, True)) is kind


def test_a_simple_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    assert type(progress.make("auto", False, True)) is progress.Lines


def test_lines_are_said_once_for_each_step(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    lines = progress.Lines()
    for received in (512, 513, 700):
        lines.event(0, "t-1", {**EVENT, "received_bytes": received})
    lines.event(1, "b.bin", {"stage": "hashing", "done_bytes": 0, "total_bytes": 0})
    assert capsysbinary.readouterr().err.decode().splitlines() == [
        "a[bold]\\u{1b}.txt: downloading 50% of 1.0 KiB, 1.0 KiB/s, 0.5 s left, 1 source",
        "a[bold]\\u{1b}.txt: downloading 68% of 1.0 KiB, 1.0 KiB/s, 0.5 s left, 1 source",
        "b.bin: hashing 0% of 0 B",
    ]


def test_json_lines(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    progress.JsonLines().event(0, "t-1", EVENT)
    captured = capsysbinary.readouterr()
    assert captured.out == b""
    assert json.loads(captured.err) == {"schema": "p2p.progress/1", **EVENT}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def late(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeTerminal, progress.Late, Clock]:
    """Bars on a terminal, that have been under way long enough."""
    terminal = FakeTerminal(100, 10)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("p2pctl.screen.terminal_size", lambda stream: terminal.size())
    monkeypatch.setattr("p2pctl.bars.DRAW_SECONDS", 0.0)
    clock = Clock()
    bars = progress.Late(False, clock)
    bars.event(0, "t-1", EVENT)
    assert terminal.text == ""  # nothing is drawn, nor imported, for what is over at once
    clock.now = 1.0
    return terminal, bars, clock


def test_a_bar_shows_the_name_as_it_is_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, bars, _ = late(monkeypatch)
    bars.event(0, "t-1", EVENT)
    (row,) = terminal.rows
    assert row.startswith("a[bold]\\u{1b}.txt")
    assert row.split()[2:] == ["50%", "1.0", "KiB/s", "0.5", "s", "1", "source"]
    bars.close()
    assert terminal.rows == []
    bars.event(0, "t-1", {**EVENT, "received_bytes": 1024})
    assert "100%" in terminal.rows[0]
    bars.close()


def test_a_line_for_all_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, bars, _ = late(monkeypatch)
    bars.expect(1, "b", {"state": "queued", "size_bytes": 1024})
    bars.expect(2, "c", {"state": "queued", "size_bytes": 2048})
    bars.event(0, "t-1", EVENT)
    assert [row.split()[0] for row in terminal.rows] == ["a[bold]\\u{1b}.txt", "b", "c", "0"]
    assert terminal.rows[-1].split()[5:] == ["12%", "1.0", "KiB/s", "3.5", "s"]
    bars.over(0)
    bars.event(1, "b", {**EVENT, "name": "b"})
    assert terminal.rows[-1].startswith("1 of 3 done")
    assert "37%" in terminal.rows[-1]
    bars.close()
    bars.close()


def test_a_rate_that_the_daemon_does_not_tell_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, bars, clock = late(monkeypatch)
    bars.over(0)
    for done in (0, 10, 20):
        bars.event(1, "b", {"stage": "hashing", "done_bytes": done * 1024, "total_bytes": 100 * 1024})
        clock.now += 1.0
    assert terminal.rows[0].split()[2:] == ["20%", "10.0", "KiB/s", "8.0", "s", "hashing"]
    bars.event(1, "c", {"stage": "hashing", "done_bytes": 0, "total_bytes": 1024})
    assert "KiB/s" not in terminal.rows[0]
    bars.close()


def test_a_terminal_that_is_gone_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, bars, _ = late(monkeypatch)

    def gone(data: bytes) -> int:
        raise OSError(5, "gone")

    terminal.sink.write = gone  # type: ignore[method-assign]
    bars.event(0, "t-1", EVENT)
    bars.close()
