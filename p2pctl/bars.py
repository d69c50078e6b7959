"""Bars on a terminal: one for each thing under way as far as they fit, a line that counts the others, and one bar for all together. Imports
rich; imported when one is drawn.

The rule: what is shown fits the terminal as it is now, in both directions; names are data. What was there before (resumed) is shown as
done, in another colour and another stroke, so that it can be told without colours too.
"""

from __future__ import annotations

import sys
import time

from rich.text import Text

from p2pctl.progress import Step
from p2pctl.screen import Block
from p2pctl.tables import STYLES, paint, painter
from p2pctl.units import format_duration, format_rate, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DRAW_SECONDS = 0.1  # at least between two drawings
STROKES = "═━╸─"  # resumed, done, half a column done, to come
PLAIN_STROKES = "=##-"  # for terminals without UTF-8
MOVING = ("downloading", "streaming", "hashing", "verifying", "repairing", "")
"""States in which a rate means something; of others the word is shown in its place."""

PERCENT, RATE, LEFT, NOTE, AMOUNT = 4, 10, 8, 10, 20  # columns of the figures
COUNTED_LINES = 4  # of a terminal from which what has no bar is counted in a line of its own
WIDE, MIDDLE, NARROW = 100, 60, 30  # columns from which a line has all, some, or few of them


class Bars:
    """See the module. `steps` of `draw` are the things under way in their order."""

    def __init__(
        self, color: bool, block: Block | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._color = color
        self._block = block or Block(sys.stderr)
        self._console = painter(color)
        self._clock = clock
        self._drawn = float("-inf")
        encoding = (getattr(sys.stderr, "encoding", None) or "utf-8").lower().replace("-", "")
        self._strokes = STROKES if encoding == "utf8" else PLAIN_STROKES

    def draw(self, steps: Sequence[Step], total: Step | None) -> None:
        """All of it, unless it was drawn just now."""
        now = self._clock()
        if now - self._drawn < DRAW_SECONDS:
            return
        self._drawn = now
        width, height = self._block.room
        room = max(1, height - (total is not None))
        counted = len(steps) > room and height >= COUNTED_LINES
        shown, hidden = _fitting(steps, room - counted)
        lines = [self._line(step, width, "") for step in shown]
        if counted:
            lines.append(self._count(hidden, width))
        if total is not None and height > 1:
            name = f"{total.name} (+{len(hidden)})" if hidden and not counted else total.name
            lines.append(self._line(total.named(name), width, "bold"))
        self._block.draw([paint(self._console, line) for line in lines], [line.cell_len for line in lines])

    def close(self) -> None:
        """Nothing of it is left on the screen."""
        self._block.clear()
        self._drawn = float("-inf")

    # -- one line -----------------------------------------------------------------------------------------

    def _line(self, step: Step, width: int, style: str) -> Text:
        figures = self._figures(step, width)
        gap = "  " if width >= MIDDLE else " "
        tail = Text(gap).join(figures) if figures else Text()
        left = width - tail.cell_len - (len(gap) if figures else 0)
        bar = 0 if width < NARROW else min(60, max(6, left // 3 if width < WIDE else left // 2))
        label = left - (bar + len(gap) if bar else 0)
        name = Text(step.name)
        name.truncate(max(1, label), overflow="ellipsis", pad=True)
        parts = [name, self._bar(step, bar), tail] if bar else [name, tail]
        line = Text(gap).join(part for part in parts if part.plain)
        line.stylize(style if self._color else "")
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
        return line

    def _count(self, hidden: Sequence[Step], width: int) -> Text:
        active = sum(step.doing in MOVING and step.doing != "" for step in hidden)
        line = Text(f"and {len(hidden)} more, {active} active")
        line.stylize("bright_black" if self._color else "")
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
        return line

    def _figures(self, step: Step, width: int) -> list[Text]:
        percent = Text(f"{step.percent}%".rjust(PERCENT))
        if width < NARROW:
            return [percent]
        if step.doing in MOVING:
            rate = Text("" if step.rate is None else format_rate(step.rate))
        else:
            rate = Text(step.doing)
            rate.stylize(STYLES.get(step.doing, "") if self._color else "")
        rate.truncate(RATE, overflow="ellipsis")
        rate = Text(" " * (RATE - rate.cell_len)).append_text(rate)
        if width < MIDDLE:
            return [percent, rate]
        eta = "" if step.eta_s is None or step.doing not in MOVING else format_duration(step.eta_s)
        wide = width >= WIDE
        left = Text(f"{eta} left".rjust(LEFT + 5) if wide and eta else eta.rjust(LEFT + 5 * wide))
        note = Text(self._note(step).ljust(NOTE))
        note.truncate(NOTE)
        if not wide:
            return [percent, rate, left, note]
        amount = f"{format_size(step.done)} of {format_size(step.total)}"
        return [percent, Text(amount.rjust(AMOUNT)), rate, left, note]

    def _note(self, step: Step) -> str:
        if step.sources is not None:
            return f"{step.sources} source{'' if step.sources == 1 else 's'}"
        return step.doing if step.doing in MOVING else ""

    def _bar(self, step: Step, width: int) -> Text:
        bar = Text()
        halves = 2 * width * min(step.done, step.total) // step.total if step.total else 0
        kept = min(halves // 2, width * min(step.resumed, step.total) // step.total if step.total else 0)
        whole = halves // 2 - kept
        half = halves % 2
        done = "green" if step.total and step.done >= step.total else "cyan"
        resumed, full, part, rest = tuple(self._strokes)
        for text, style in (
            (resumed * kept, "blue"),
            (full * whole + part * half, done),
            (rest * (width - kept - whole - half), "bright_black"),
        ):
            bar.append(text, style if self._color else "")
        return bar


def _fitting(steps: Sequence[Step], room: int) -> tuple[list[Step], list[Step]]:
    """Those that are shown and those that are not: those that move first; all in their order."""
    order = sorted(range(len(steps)), key=lambda index: steps[index].doing not in MOVING)
    shown = sorted(order[:room])
    return [steps[index] for index in shown], [steps[index] for index in order[room:]]
