"""p2pctl/live.py: a table that fits the screen and is drawn in its place."""

from __future__ import annotations

from p2pctl.live import LiveTable
from p2pctl.screen import Block
from tests.fakes.screens import FakeTerminal


def on(terminal: FakeTerminal) -> LiveTable:
    terminal.write("before\n")
    terminal.flush()
    return LiveTable(False, Block(terminal, terminal.size))


def test_rows_and_what_stands_below() -> None:
    terminal = FakeTerminal(60, 20)
    with on(terminal) as table:
        table.draw(["NAME", ">SIZE", "X"], [["a[bold]b", "5 B", ""]], "1 active")
        table.draw(["NAME", ">SIZE", "X"], [["a[bold]b", "77 B", "x"]], "2 active")
        assert terminal.rows == ["before", "NAME      SIZE  X", "a[bold]b  77 B  x", "2 active"]
    terminal.write("after")
    assert terminal.rows[-2:] == ["2 active", "after"]


def test_the_last_rows_when_there_are_too_many() -> None:
    terminal = FakeTerminal(60, 6)
    with on(terminal) as table:
        table.draw(["NAME"], [[f"row{number}"] for number in range(10)], "10 active")
    assert terminal.rows == ["NAME", "row7", "row8", "row9", "10 active; 7 above are not shown"]


def test_a_terminal_that_changes() -> None:
    terminal = FakeTerminal(80, 10)
    row = ["t-1", "downloading", "35.0 MiB/s", "example.iso"]
    with on(terminal) as table:
        table.draw(["TRANSFER", "STATE", "?>RATE", "NAME"], [row], "")
        assert "35.0 MiB/s" in terminal.rows[2]
        terminal.screen.resize(10, 36)
        table.draw(["TRANSFER", "STATE", "?>RATE", "NAME"], [row], "")
        assert terminal.rows[-1] == "t-1       downloading  example.i…"
