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
        table.draw(["NAME", ">SIZE", "X"], [["a[bold]b", "5 B", ""]], "1 active", [0])
        table.draw(["NAME", ">SIZE", "X"], [["a[bold]b", "77 B", "x"]], "2 active", [0])
        assert terminal.rows == ["before", "NAME      SIZE  X", "a[bold]b  77 B  x", "2 active"]
    terminal.write("after")
    assert terminal.rows[-2:] == ["2 active", "after"]


def test_the_rows_that_come_first_when_there_are_too_many() -> None:
    terminal = FakeTerminal(60, 6)
    ranks = [3, 3, 1, 3, 3, 0, 3, 1, 3, 1]
    with on(terminal) as table:
        table.draw(["NAME"], [[f"row{number}"] for number in range(10)], "10 active", ranks)
    assert terminal.rows == ["NAME", "row2", "row5", "row7", "10 active; 7 are not shown"]


def test_a_terminal_that_changes() -> None:
    terminal = FakeTerminal(80, 10)
    row = ["t-1", "downloading", "35.0 MiB/s", "example.iso"]
    with on(terminal) as table:
        table.draw(["TRANSFER", "STATE", "?>RATE", "NAME"], [row], "", [0])
        assert "35.0 MiB/s" in terminal.rows[2]
        terminal.screen.resize(10, 36)
        table.draw(["TRANSFER", "STATE", "?>RATE", "NAME"], [row], "", [0])
        assert terminal.rows[-1] == "t-1       downloading  example.i…"
