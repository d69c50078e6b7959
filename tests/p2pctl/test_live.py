"""p2pctl/live.py: a table that fits the screen and is drawn in its place."""

from __future__ import annotations

import io

from rich.console import Console

from p2pctl.live import ROOM, LiveTable


def screen(height: int) -> tuple[LiveTable, io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=60, height=height, color_system=None)
    return LiveTable(console), text


def test_rows_and_what_stands_below() -> None:
    table, text = screen(20)
    with table:
        table.draw(["NAME", ">SIZE"], [["a[bold]b", "5 B"]], "1 active")
        table.draw(["NAME", ">SIZE"], [["a[bold]b", "7 B"]], "2 active")
    shown = text.getvalue()
    assert "a[bold]b" in shown  # a name is not markup
    assert "7 B" in shown
    assert "2 active" in shown
    assert "\x1b[" in shown  # drawn over itself


def test_the_last_rows_when_there_are_too_many() -> None:
    table, text = screen(ROOM + 2)
    with table:
        table.draw(["NAME"], [[f"row{number}"] for number in range(10)], "")
    shown = text.getvalue()
    assert "row9" in shown
    assert "row8" in shown
    assert "row7" not in shown
