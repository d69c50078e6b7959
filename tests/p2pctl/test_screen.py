"""p2pctl/screen.py: what stood on the screen stays, whatever is drawn below it."""

from __future__ import annotations

import os
import signal

import pytest

from p2pctl.screen import FALLBACK, Block, rewraps, terminal_size
from tests.fakes.screens import FakeTerminal


def on(terminal: FakeTerminal, *above: str) -> Block:
    terminal.write("".join(line + "\n" for line in above))
    terminal.flush()
    return Block(terminal, terminal.size)


def draw(block: Block, *lines: str) -> None:
    block.draw(lines, [len(line) for line in lines])


def test_lines_are_drawn_in_their_place_and_go() -> None:
    terminal = FakeTerminal(40, 10)
    block = on(terminal, "before")
    draw(block, "one", "two", "three")
    assert terminal.rows == ["before", "one", "two", "three"]
    draw(block, "1", "2")
    assert terminal.rows == ["before", "1", "2"]
    draw(block, "a longer one", "", "x", "y")
    assert terminal.rows == ["before", "a longer one", "", "x", "y"]
    block.clear()
    assert terminal.rows == ["before"]
    block.clear()
    draw(block, "again")
    block.keep()
    terminal.write("after")
    assert terminal.rows == ["before", "again", "after"]


def test_at_the_bottom_of_the_screen() -> None:
    terminal = FakeTerminal(40, 5)
    block = on(terminal, "a", "b", "c", "d")
    draw(block, "1", "2", "3")
    assert terminal.rows == ["c", "d", "1", "2", "3"]
    draw(block, "4", "5", "6")
    assert terminal.rows == ["c", "d", "4", "5", "6"]
    block.clear()
    assert terminal.rows == ["c", "d"]


def test_what_the_terminal_echoes_at_the_end_of_a_full_line_does_no_harm() -> None:
    terminal = FakeTerminal(20, 6)
    block = on(terminal, "before")
    columns, lines = block.room
    assert (columns, lines) == (17, 5)
    draw(block, "x" * columns, "y" * columns)
    terminal.write("^C")
    terminal.flush()
    block.clear()
    assert terminal.rows == ["before"]


@pytest.mark.parametrize(
    ("environ", "answer"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm", "XTERM_VERSION": "XTerm(390)"}, False),
        ({"TERM": "screen-256color", "TMUX": "/s,1,0"}, True),
        ({"TERM": "screen"}, False),
        ({"TERM": "linux"}, False),
        ({}, True),
    ],
)
def test_who_wraps_anew(environ: dict[str, str], answer: bool) -> None:
    assert rewraps(environ) == answer


def test_a_terminal_that_became_narrow_has_clipped_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "linux")
    terminal = FakeTerminal(20, 8)
    block = on(terminal, "before")
    draw(block, "x" * 17, "y" * 17)
    terminal.screen.resize(8, 10)
    draw(block, "one", "two")
    assert terminal.rows == ["before", "one", "two"]


def test_a_terminal_that_became_narrow_has_wrapped_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("XTERM_VERSION", raising=False)
    terminal = FakeTerminal(20, 8)
    block = on(terminal, "before")
    draw(block, "x" * 17, "y" * 17)
    # What tmux, VTE and others do: the lines are two rows each now.
    terminal.screen.reset()
    terminal.screen.resize(8, 10)
    terminal.write("before\n" + "\n".join(["x" * 10, "x" * 7, "y" * 10, "y" * 7]))
    terminal.flush()
    draw(block, "one", "two")
    assert terminal.rows == ["before", "one", "two"]


def test_after_a_stop_it_begins_below_what_the_shell_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGCONT)
    terminal = FakeTerminal(40, 10)
    block = on(terminal, "before")
    draw(block, "one", "two")
    terminal.write("\n[1]+ Stopped\n")
    terminal.flush()
    os.kill(os.getpid(), signal.SIGCONT)
    draw(block, "three", "four")
    draw(block, "5", "6")
    assert terminal.rows == ["before", "one", "two", "[1]+ Stopped", "5", "6"]
    block.clear()
    assert signal.getsignal(signal.SIGCONT) == before


def test_the_size_of_what_is_no_terminal() -> None:
    with open(os.devnull, "w") as stream:
        assert terminal_size(stream) == FALLBACK
    assert terminal_size(FakeTerminal()) == FALLBACK  # it has no descriptor
