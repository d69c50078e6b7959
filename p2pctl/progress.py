"""Progress on stderr: a bar on a terminal, plain lines on a simple one, JSON lines for programs, or nothing.

The rule: stdout is never touched, and nothing is drawn into a pipe unless asked for. `rich` is imported
when the first bar is drawn: a transfer that ends at once costs nothing.
"""

from __future__ import annotations

import os
import sys

from p2pctl.render import note
from p2pctl.units import format_duration, format_rate, format_size
from protocol.display import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rich.progress import TaskID

LINE_STEP = 10  # percent between two plain lines


class Step:
    """One progress event in the terms that both `add` and `wait` share."""

    __slots__ = ("doing", "done", "eta_s", "name", "rate", "sources", "total")

    def __init__(self, name: str, event: Mapping[str, Any]) -> None:
        self.name = safe(str(event.get("name") or name))
        self.doing = safe(str(event.get("stage") or event.get("state") or ""))
        self.done = int(event.get("done_bytes") or event.get("received_bytes") or 0)
        self.total = int(event.get("total_bytes") or event.get("size_bytes") or 0)
        self.rate = event.get("rate_bytes_per_s")
        self.eta_s = event.get("eta_s")
        self.sources = event.get("sources")

    @property
    def percent(self) -> int:
        return self.done * 100 // self.total if self.total else 0

    @property
    def facts(self) -> str:
        """Rate, time left and sources, as far as known."""
        words = []
        if self.rate is not None:
            words.append(format_rate(self.rate))
        if self.eta_s is not None:
            words.append(f"{format_duration(self.eta_s)} left")
        if self.sources is not None:
            words.append(f"{self.sources} source{'' if self.sources == 1 else 's'}")
        return ", ".join(words)


class Silent:
    """Shows nothing; also what the others look like. `key` tells the things under way apart."""

    def event(self, key: int, name: str, event: Mapping[str, Any]) -> None:
        """Something moved."""

    def close(self) -> None:
        """Remove what was drawn; a later event draws it again."""


class JsonLines(Silent):
    """Each event as a line of schema p2p.progress/1."""

    def event(self, key: int, name: str, event: Mapping[str, Any]) -> None:
        from json import dumps

        document = {"schema": "p2p.progress/1", "name": name, **event}
        note(dumps(document, ensure_ascii=False, separators=(",", ":")))


class Lines(Silent):
    """A plain line at each change of state and each ten percent."""

    def __init__(self) -> None:
        self._said: dict[int, tuple[str, int]] = {}

    def event(self, key: int, name: str, event: Mapping[str, Any]) -> None:
        step = Step(name, event)
        mark = (step.doing, step.percent // LINE_STEP)
        if self._said.get(key) == mark:
            return
        self._said[key] = mark
        facts = f", {step.facts}" if step.facts else ""
        note(f"{step.name}: {step.doing} {step.percent}% of {format_size(step.total)}{facts}")


class Bar(Silent):
    """A bar for each thing under way, gone when it is over."""

    def __init__(self, color: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        console = Console(file=sys.stderr, no_color=not color, highlight=False, emoji=False, markup=False)
        self._tasks: dict[int, TaskID] = {}
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
            console=console,
            transient=True,
            auto_refresh=False,
            expand=True,
        )
        self._bars.start()

    def event(self, key: int, name: str, event: Mapping[str, Any]) -> None:
        step = Step(name, event)
        words = f"{step.name} {step.doing}"
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(words, total=None, facts="")
        self._bars.update(
            self._tasks[key],
            description=words,
            completed=step.done,
            total=step.total or None,
            facts=step.facts,
        )
        self._bars.refresh()

    def close(self) -> None:
        self._bars.stop()


class Late(Silent):
    """A Bar made at the first event, and again at the next one after a close."""

    def __init__(self, color: bool) -> None:
        self._color = color
        self._bar: Bar | None = None

    def event(self, key: int, name: str, event: Mapping[str, Any]) -> None:
        if self._bar is None:
            self._bar = Bar(self._color)
        self._bar.event(key, name, event)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def make(mode: str, quiet: bool, color: bool) -> Silent:
    """The progress for `--progress mode` (auto, bar, json, off)."""
    if mode == "json":
        return JsonLines()
    terminal = sys.stderr.isatty()
    if mode == "off" or (mode == "auto" and (quiet or not terminal)):
        return Silent()
    simple = not terminal or os.environ.get("TERM", "dumb") == "dumb"
    return Lines() if simple else Late(color)
