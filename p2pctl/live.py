"""A table on a terminal that is drawn again in its place. Imports rich, and is imported only when something is drawn."""

from __future__ import annotations

import sys

from rich.text import Text

from p2pctl.screen import Block
from p2pctl.tables import Layout, paint, painter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

ROOM = 2  # lines that are not rows: header and counts


class LiveTable:
    """A context manager; the last state stays on the screen at its end."""

    def __init__(self, color: bool = True, block: Block | None = None) -> None:
        self._color = color
        self._console = painter(color)
        self._block = block or Block(sys.stdout)

    def __enter__(self) -> LiveTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block.keep()

    def draw(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], below: str, ranks: Sequence[int]
    ) -> None:
        """`rows` under `head` (see p2pctl/tables.py), those of the lowest `ranks` when there are too many, in their order; `below` is a
        line under them. All texts must be safe."""
        width, height = self._block.room
        order = sorted(range(len(rows)), key=ranks.__getitem__)
        shown = [rows[index] for index in sorted(order[: max(1, height - ROOM)])]
        if hidden := len(rows) - len(shown):
            below = f"{below}; {hidden} are not shown"
        lines = Layout(head, width, self._color).lines(shown)
        last = Text(below, style="dim" if self._color else "")
        last.truncate(width, overflow="ellipsis")
        lines.append(last)
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        self._block.draw([paint(self._console, line) for line in lines], [line.cell_len for line in lines])
