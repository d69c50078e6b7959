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

    def draw(self, head: Sequence[str], rows: Sequence[Sequence[str]], below: str) -> None:
        """`rows` under `head` (see p2pctl/tables.py), the last ones when there are too many; `below` is a line under them. All texts
        must be safe."""
        width, height = self._block.room
        shown = rows[-max(1, height - ROOM) :]
        hidden = len(rows) - len(shown)
        if hidden:
            below = f"{below}; {hidden} above are not shown"
        lines = Layout(head, width, self._color).lines(shown)
        last = Text(below, style="dim" if self._color else "")
        last.truncate(width, overflow="ellipsis")
        lines.append(last)
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        self._block.draw([paint(self._console, line) for line in lines], [line.cell_len for line in lines])
