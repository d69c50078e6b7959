"""Lines at the bottom of a terminal that are drawn again in their place: what progress and watched tables have in common.

The rule: what stood on the screen before stays as it was, whatever happens: nothing is drawn over it, and at the end the lines are gone or
kept whole. The cursor stays visible, so there is nothing to restore after a kill or a Ctrl-Z. No line fills the last columns, because a
`^C` that the terminal echoes there would push it down. Knows nothing of what the lines say.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType
    from typing import Any, TextIO

SPARE_COLUMNS = 3  # at the end of each line
FALLBACK = (80, 24)
CLIPPING = ("linux", "rxvt", "st", "screen", "vt")


def terminal_size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of the terminal that is there now."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return FALLBACK
    return size.columns or FALLBACK[0], size.lines or FALLBACK[1]


def rewraps(environ: Mapping[str, str]) -> bool:
    """Whether the terminal wraps lines anew when it becomes narrow. Those that are known for it clip them."""
    if environ.get("TMUX"):
        return True
    return not (environ.get("XTERM_VERSION") or environ.get("TERM", "").startswith(CLIPPING))


class Block:
    """See the module. `size()` answers (columns, lines) at the moment."""

    def __init__(self, stream: TextIO, size: Callable[[], tuple[int, int]] | None = None) -> None:
        self._rewraps = rewraps(os.environ)
        self._stream = stream
        self._size = size or (lambda: terminal_size(stream))
        self._widths: Sequence[int] = ()
        self._columns = 0
        self._restore: Any = None
        self._hooked = False

    @property
    def room(self) -> tuple[int, int]:
        """Columns of a line and number of lines that may be drawn now."""
        columns, lines = self._size()
        return max(1, columns - SPARE_COLUMNS), max(1, lines - 1)

    def draw(self, lines: Sequence[str], widths: Sequence[int]) -> None:
        """These lines in the place of the last ones. They may have colours; `widths` are their columns. Raises OSError."""
        self._listen()
        home = self._home()
        columns, _ = self._size()
        text = "\n".join(f"{line}\x1b[K" for line in lines)
        self._write(f"{home}{text}\x1b[J")
        self._widths, self._columns = list(widths), columns

    def clear(self) -> None:
        """They are gone, and the cursor is where they began. Raises OSError."""
        if self._widths:
            self._write(f"{self._home()}\x1b[J")
            self._widths = ()
        self._forget()

    def keep(self) -> None:
        """They stay; what follows comes below. Raises OSError."""
        if self._widths:
            self._write("\n")
            self._widths = ()
        self._forget()

    def _home(self) -> str:
        """Moves the cursor to the first of the lines, wherever a terminal that was resized has wrapped them to."""
        if not self._widths:
            return ""
        columns, height = self._size()
        rows = len(self._widths)
        if columns < self._columns and self._rewraps:
            rows = sum(max(1, -(-width // columns)) for width in self._widths)
        up = min(rows, height) - 1
        return f"\r\x1b[{up}A" if up else "\r"

    def _write(self, text: str) -> None:
        self._stream.flush()
        self._stream.buffer.write(text.encode(self._stream.encoding or "utf-8", "backslashreplace"))
        self._stream.buffer.flush()

    # -- Ctrl-Z -------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self._hooked or not hasattr(signal, "SIGCONT"):
            return
        self._hooked = True
        try:
            self._restore = signal.signal(signal.SIGCONT, self._continued)
        except ValueError:
            pass  # not the main thread: its terminal is somebody else's

    def _continued(self, number: int, frame: FrameType | None) -> None:
        """The shell wrote below the lines meanwhile: begin anew under that."""
        self._widths = ()

    def _forget(self) -> None:
        if self._restore is not None:
            signal.signal(signal.SIGCONT, self._restore)
        self._restore, self._hooked = None, False
