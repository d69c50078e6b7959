"""p2pctl/tables.py: what fits, what is left out first, and that names are data."""

from __future__ import annotations

import pytest

from p2pctl.tables import Layout, paint, painter
from tests.fakes.screens import FakeTerminal

HEAD = ["ID", "STATE", ">SIZE", "?>RATE", "?>AGE", "NAME"]
ROW = ["7f3a91c2", "failed", "1.4 GiB", "35.0 MiB/s", "4d", "example.txt"]


def plain(head: list[str], rows: list[list[str]], width: int) -> list[str]:
    return [line.plain for line in Layout(head, width, False).lines(rows)]


def test_all_of_it_where_there_is_room() -> None:
    assert plain(HEAD, [ROW, [*ROW[:2], "5 B", *ROW[3:5], "宽宽"]], 80) == [
        "ID        STATE      SIZE        RATE  AGE  NAME",
        "7f3a91c2  failed  1.4 GiB  35.0 MiB/s   4d  example.txt",
        "7f3a91c2  failed      5 B  35.0 MiB/s   4d  宽宽",
    ]


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (54, "7f3a91c2  failed  1.4 GiB  35.0 MiB/s  example.txt"),
        (45, "7f3a91c2  failed  1.4 GiB  example.txt"),
        (35, "7f3a91c2  failed  1.4 GiB  example…"),
    ],
)
def test_the_least_important_goes_first(width: int, row: str) -> None:
    assert plain(HEAD, [ROW], width)[1] == row


@pytest.mark.parametrize("width", [35, 40, 54, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    rows = [[*ROW[:5], name] for name in ("宽" * 100, "n" * 300, "👩‍👩‍👧‍👦" * 40, "e\u0301" * 90)]
    assert all(line.cell_len <= width for line in Layout(HEAD, width, True).lines(rows))


def test_where_nothing_fits_each_cell_has_a_line() -> None:
    assert plain(["ID", "NAME"], [["7f" * 32, "a" * 90], ["0b" * 32, "b"]], 40) == [
        "ID    " + "7f" * 32,
        "NAME  " + "a" * 90,
        "",
        "ID    " + "0b" * 32,
        "NAME  b",
        "",
    ]


def test_one_header_over_pages_and_columns_that_only_grow() -> None:
    layout = Layout(["A", ">B", "NAME"], 80, False)
    assert [line.plain for line in layout.lines([["xx", "1", "n"]])] == ["A   B  NAME", "xx  1  n"]
    assert [line.plain for line in layout.lines([["x", "22", "n"]])] == ["x   22  n"]


def test_names_are_data_on_the_screen() -> None:
    terminal = FakeTerminal(60, 5)
    console = painter(True)
    lines = Layout(["STATE", "NAME"], 60, True).lines([["failed", "[red]x[/]"], ["done", ":smile: [/b]"]])
    terminal.write("\n".join(paint(console, line) for line in lines))
    assert terminal.rows == ["STATE   NAME", "failed  [red]x[/]", "done    :smile: [/b]"]
    colours = [terminal.screen.buffer[row][0].fg for row in (1, 2)]
    assert colours == ["red", "green"]
    assert terminal.screen.buffer[1][8].fg == "default"
    assert terminal.screen.buffer[0][0].bold


def test_no_colours_when_not_wanted() -> None:
    (line, row) = Layout(["STATE", "NAME"], 60, False).lines([["failed", "x"]])
    console = painter(False)
    assert [paint(console, line), paint(console, row)] == ["STATE   NAME", "failed  x"]
