"""A table on a terminal that is drawn again in its place. Imports rich, and is imported only when something is drawn."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

ROOM = 4  # lines of the screen that are not rows: header, counts, the prompt after the end


class LiveTable:
    """A context manager; the last state stays on the screen at its end."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, emoji=False, markup=False)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def draw(self, head: list[str], rows: list[list[str]], below: str) -> None:
        """`rows` under `head` (a name that starts with `>` stands to the right), the last ones when there are too many; `below` is a line
        under them. All texts must be safe."""
        table = Table(
            box=None, pad_edge=False, header_style="bold", caption=Text(below), caption_justify="left"
        )
        for name in head:
            table.add_column(
                name.lstrip(">"),
                justify="right" if name.startswith(">") else "left",
                no_wrap=True,
                overflow="ellipsis",
            )
        for row in rows[-max(1, self._console.size.height - ROOM) :]:
            table.add_row(*map(Text, row))
        self._live.update(table, refresh=True)
