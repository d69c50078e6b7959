"""p2pctl/bars.py: what is seen of things under way, on any terminal."""

from __future__ import annotations

from typing import Any

import pytest

from p2pctl.bars import Bars
from p2pctl.progress import Step
from p2pctl.screen import Block
from tests.fakes.screens import FakeTerminal

EVENT = {
    "state": "downloading",
    "received_bytes": 50 << 20,
    "size_bytes": 100 << 20,
    "resumed_bytes": 25 << 20,
    "rate_bytes_per_s": 35 << 20,
    "eta_s": 80.0,
    "sources": 3,
}


def step(name: str = "example.iso", **changes: Any) -> Step:
    return Step(name, {**EVENT, **changes})


class Clock:
    """Seconds that pass when they are asked for."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def drawn(columns: int, *steps: Step, lines: int = 24, total: Step | None = None) -> list[str]:
    terminal = FakeTerminal(columns, lines)
    Bars(False, Block(terminal, terminal.size), Clock()).draw(steps, total)
    return terminal.rows


def test_at_three_widths() -> None:
    assert drawn(40, step()) == ["example.iso   ═━━╸───  50% 35.0 MiB/s"]
    assert drawn(80, step()) == [
        "example.iso              ═══━━━──────   50%  35.0 MiB/s    1m 20s  3 sources"
    ]
    (wide,) = drawn(200, step())
    assert wide.startswith("example.iso  ")
    assert wide.endswith("  50%   50.0 MiB of 100 MiB  35.0 MiB/s    1m 20s left  3 sources")
    assert wide.count("═") == wide.count("━") == 15
    assert wide.count("─") == 30


@pytest.mark.parametrize("columns", [1, 10, 20, 33, 40, 60, 63, 80, 103, 120, 200, 400])
def test_every_line_fits(columns: int) -> None:
    steps = [
        step("宽" * 90),
        step("n" * 300),
        step(state="retrying"),
        step(size_bytes=0, eta_s=None, rate_bytes_per_s=None),
    ]
    terminal = FakeTerminal(columns, 24)
    block = Block(terminal, terminal.size)
    Bars(True, block, Clock()).draw(steps, step("0 of 4 done"))
    assert len(terminal.rows) == 5
    assert max(block._widths) <= max(1, columns - 3)
    block.clear()
    assert terminal.rows == []


def test_names_are_data() -> None:
    (row,) = drawn(100, step("[red]x[/]\x1b[31m\u202etxt"))
    assert row.startswith("[red]x[/]\\u{1b}[31m\\u{202e}txt ")


def test_a_state_in_which_nothing_moves_stands_for_the_rate() -> None:
    (row,) = drawn(80, step(state="stalled"))
    assert row.split() == ["example.iso", row.split()[1], "50%", "stalled", "3", "sources"]


def test_more_than_the_terminal_has_room_for() -> None:
    steps = [step(f"f{number}", state="queued" if number < 6 else "downloading") for number in range(10)]
    rows = drawn(80, *steps, lines=6, total=step("0 of 10 done"))
    assert [row.split()[0] for row in rows] == ["f6", "f7", "f8", "and", "0"]
    assert rows[3] == "and 7 more, 1 active"
    assert rows[-1].startswith("0 of 10 done  ")
    few = drawn(80, *steps, lines=4, total=step("0 of 10 done"))
    assert [row.split()[0] for row in few] == ["f6", "f7", "0"]
    assert few[-1].startswith("0 of 10 done (+8)")
    assert len(drawn(80, *steps, lines=12, total=step("0 of 10 done"))) == 11


def test_a_hundred_downloads() -> None:
    """What is counted as active is what the daemon works on."""
    states = ["downloading"] * 30 + ["stalled"] * 2 + ["queued"] * 68
    rows = drawn(80, *(step(state=state) for state in states), lines=24, total=step("0 of 100 done"))
    assert len(rows) == 23
    assert rows[-2] == "and 79 more, 9 active"


def test_hashing_has_no_sources_and_says_what_it_is() -> None:
    one = Step("a.iso", {"stage": "hashing", "done_bytes": 1, "total_bytes": 2})
    one.rate, one.eta_s = 1024.0, 5.0
    (row,) = drawn(80, one)
    assert row.split()[2:] == ["50%", "1.0", "KiB/s", "5.0", "s", "hashing"]


def test_colours_tell_what_was_there_before() -> None:
    terminal = FakeTerminal(80, 5)
    Bars(True, Block(terminal, terminal.size), Clock()).draw([step()], None)
    row = terminal.screen.buffer[0]
    colours = {row[column].data: row[column].fg for column in range(80) if row[column].data in "═━─"}
    assert colours == {"═": "blue", "━": "cyan", "─": "brightblack"}


def test_it_is_not_drawn_too_often() -> None:
    terminal = FakeTerminal(80, 5)
    now = [0.0]
    bars = Bars(False, Block(terminal, terminal.size), lambda: now[0])
    bars.draw([step("first")], None)
    now[0] = 0.05
    bars.draw([step("second")], None)
    assert terminal.rows[0].startswith("first")
    now[0] = 0.2
    bars.draw([step("third")], None)
    assert terminal.rows[0].startswith("third")
    bars.close()
    assert terminal.rows == []
    bars.draw([step("fourth")], None)
    assert terminal.rows[0].startswith("fourth")


def test_a_terminal_without_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = FakeTerminal(80, 5)
    monkeypatch.setattr("sys.stderr", type("Ascii", (), {"encoding": "ANSI_X3.4-1968"})())
    Bars(False, Block(terminal, terminal.size), Clock()).draw([step()], None)
    assert "===###------" in terminal.rows[0]
