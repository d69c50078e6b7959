"""Tables for a terminal: as wide as it is, coloured, every name in one line. Imports rich, and is imported only when one is drawn.

The rule: a name is data: never markup, measured in columns as the terminal shows it. What does not fit is left out in the order of its
worth: columns whose head begins with `?` from the right, then the end of the last column; where even that is too much, each cell gets a
line. All texts must be safe (protocol/display.py).
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = "  "
LEAST_LAST = 12  # columns of the last column; others are left out before it has fewer
LEAST_STACKED = 8  # with less at the first page, each cell gets a line of its own
LEAST_CUT = 8

STYLES = {
    "done": "green",
    "downloading": "cyan",
    "verifying": "cyan",
    "hashing": "cyan",
    "stalled": "yellow",
    "retrying": "yellow",
    "disk_full": "red",
    "missing_storage": "red",
    "missing": "red",
    "changed": "yellow",
    "failed": "red",
    "cancelled": "dim",
    "paused": "magenta",
    "queued": "dim",
}
"""Colours of the words in a column STATE."""


class Layout:
    """The columns of one table: chosen at its first page, and only growing after it."""

    def __init__(self, head: Sequence[str], width: int, color: bool) -> None:
        self._heads = [name.lstrip("?>") for name in head]
        self._right = [">" in name[:2] for name in head]
        self._optional = [name.startswith("?") for name in head]
        self._width = width
        self._color = color
        self._widths = [cell_len(name) for name in self._heads]
        self._shown: list[int] | None = None
        self._stacked = False

    def lines(self, rows: Sequence[Sequence[str]]) -> list[Text]:
        """These rows; before the first ones the header."""
        self._widths = [max([w, *(cell_len(row[i]) for row in rows)]) for i, w in enumerate(self._widths)]
        first = self._shown is None
        shown = self._shown = self._shown or self._choose()
        room = self._width - self._used(shown)
        if first:
            self._stacked = room < LEAST_STACKED
        if self._stacked:
            return [line for row in rows for line in self._stack(row)]
        cut = max(room, LEAST_CUT)
        made = [self._line(self._heads, shown, cut, "bold")] if first else []
        return made + [self._line(row, shown, cut, "") for row in rows]

    def _stack(self, row: Sequence[str]) -> list[Text]:
        """A row as lines of its own: nothing of it is cut."""
        style = "bold" if self._color else ""
        width = max(map(cell_len, self._heads)) + len(GAP)
        return [
            *(
                Text(head.ljust(width), style=style).append(cell, "not bold" if style else "")
                for head, cell in zip(self._heads, row, strict=True)
            ),
            Text(),
        ]

    def _choose(self) -> list[int]:
        shown = list(range(len(self._heads)))
        wanted = min(LEAST_LAST, self._widths[-1])
        for index in reversed(shown[:-1]):
            if self._width - self._used(shown) >= wanted:
                break
            if self._optional[index]:
                shown.remove(index)
        return shown

    def _used(self, shown: list[int]) -> int:
        """Columns before the last column."""
        return sum(self._widths[index] + len(GAP) for index in shown[:-1])

    def _line(self, cells: Sequence[str], shown: list[int], cut: int, style: str) -> Text:
        line = Text(style=style if self._color else "", no_wrap=True, end="")
        for index in shown[:-1]:
            line.append_text(self._cell(cells[index], index))
            line.append(GAP)
        last = self._cell(cells[shown[-1]], shown[-1], pad=False)
        last.truncate(cut, overflow="ellipsis")
        return line.append_text(last)

    def _cell(self, cell: str, index: int, pad: bool = True) -> Text:
        text = Text(cell)
        if self._color and self._heads[index] == "STATE":
            text.stylize(STYLES.get(cell, ""))
        if pad:
            fill = " " * (self._widths[index] - cell_len(cell))
            return Text(fill).append_text(text) if self._right[index] else text.append(fill)
        return text


def painter(color: bool) -> Console:
    """What turns Text into the sequences of the terminal; see `paint`."""
    return Console(
        force_terminal=True, no_color=not color, highlight=False, emoji=False, markup=False, width=10_000
    )


def paint(console: Console, line: Text) -> str:
    """One line for the terminal, without its end."""
    with console.capture() as captured:
        console.print(line, end="", no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)
    return captured.get()
