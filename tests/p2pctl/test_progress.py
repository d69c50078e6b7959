"""Progress: where it goes, and that nothing from elsewhere reaches the terminal raw."""

from __future__ import annotations

import io
import json
import sys

import pytest

from p2pctl import progress

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


class Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal in place of sys.stderr; not in a fixture, whose stream pytest would replace."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return terminal


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


def test_a_bar_shows_the_name_as_it_is_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    bar = progress.make("auto", False, True)
    bar.close()
    assert terminal.text == ""
    bar.event(0, "t-1", EVENT)
    drawn = terminal.text
    assert "a[bold]\\u{1b}.txt downloading" in drawn
    assert "50%" in drawn
    assert "1.0 KiB/s, 0.5 s left, 1 source" in drawn
    bar.close()
    assert terminal.text.endswith("\x1b[2K")
    bar.event(0, "t-1", {**EVENT, "received_bytes": 1024})
    bar.close()
    assert "100%" in terminal.text
