"""Progress on stderr: bars on a terminal, plain lines on a simple one, JSON lines for programs, or nothing.

The rule: stdout is never touched, and nothing is drawn into a pipe unless asked for. What draws (p2pctl/bars.py, rich) is imported when
something has been under way for a while: a transfer that ends at once costs nothing.
"""

from __future__ import annotations

import os
import sys
import time

from p2pctl.render import note
from p2pctl.units import format_duration, format_rate, format_size
from protocol.display import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from p2pctl.bars import Bars

LINE_STEP = 10  # percent between two plain lines
PATIENCE_SECONDS = 0.3  # that something may be under way before it is drawn
RATE_SECONDS = 5.0  # over which a rate is measured that the daemon does not tell


class Step:
    """One progress event in the terms that `add`, `verify` and `wait` share."""

    __slots__ = ("doing", "done", "eta_s", "name", "rate", "resumed", "sources", "total")

    def __init__(self, name: str, event: Mapping[str, Any]) -> None:
        self.name = safe(str(event.get("name") or name))
        self.doing = safe(str(event.get("stage") or event.get("state") or ""))
        self.done = int(event.get("done_bytes") or event.get("received_bytes") or 0)
        self.total = int(event.get("total_bytes") or event.get("size_bytes") or 0)
        self.resumed = int(event.get("resumed_bytes") or 0)
        self.rate: float | None = event.get("rate_bytes_per_s")
        self.eta_s: float | None = event.get("eta_s")
        self.sources: int | None = event.get("sources")

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

    def named(self, name: str) -> Step:
        """The same under another name."""
        self.name = name
        return self


class Silent:
    """Shows nothing; also what the others look like. `key` tells the things under way apart."""

    def expect(self, key: int, name: str, event: Mapping[str, Any]) -> None:
        """This will be under way, too; `event` says what is known of it."""

    def event(self, key: int, name: str, event: Mapping[str, Any]) -> None:
        """Something moved."""

    def over(self, key: int) -> None:
        """This one has ended."""

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


class Meter:
    """The rate of something whose events tell only how much is done."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []

    def fill(self, step: Step, now: float) -> None:
        """Gives a step its rate and the time left, once they can be told."""
        self._samples = [one for one in self._samples if one[0] > now - RATE_SECONDS]
        if self._samples and step.done < self._samples[-1][1]:
            self._samples = []  # something else has begun
        self._samples.append((now, step.done))
        began, before = self._samples[0]
        if now - began > PATIENCE_SECONDS:
            step.rate = (step.done - before) / (now - began)
            step.eta_s = (step.total - step.done) / step.rate if step.rate else None


class Late(Silent):
    """Bars, drawn when something has been under way for a while, and again at the next event after a close."""

    def __init__(self, color: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._color = color
        self._clock = clock
        self._bars: Bars | None = None
        self._began: float | None = None
        self._steps: dict[int, Step] = {}
        self._meters: dict[int, Meter] = {}
        self._over: dict[int, int] = {}

    def expect(self, key: int, name: str, event: Mapping[str, Any]) -> None:
        self._steps[key] = Step(name, event)

    def event(self, key: int, name: str, event: Mapping[str, Any]) -> None:
        now = self._clock()
        step = self._steps[key] = Step(name, event)
        if step.rate is None:
            self._meters.setdefault(key, Meter()).fill(step, now)
        if self._began is None:
            self._began = now
        if now - self._began < PATIENCE_SECONDS:
            return
        if self._bars is None:
            from p2pctl.bars import Bars

            self._bars = Bars(self._color)
        self._draw(self._bars)

    def over(self, key: int) -> None:
        step = self._steps.pop(key, None)
        self._over[key] = step.total if step is not None else 0

    def close(self) -> None:
        if self._bars is not None:
            self._bars.close()

    def _draw(self, bars: Bars) -> None:
        steps = [self._steps[key] for key in sorted(self._steps)]
        try:
            bars.draw(steps, self._total() if len(steps) + len(self._over) > 1 else None)
        except OSError:
            self._bars = None  # the terminal is gone: that is no reason to fail

    def _total(self) -> Step:
        """All together, those that ended included."""
        steps = list(self._steps.values())
        ended = sum(self._over.values())
        total = Step(f"{len(self._over)} of {len(steps) + len(self._over)} done", {})
        total.done = ended + sum(step.done for step in steps)
        total.total = ended + sum(step.total for step in steps)
        total.resumed = sum(step.resumed for step in steps)
        total.rate = sum(step.rate or 0 for step in steps)
        total.eta_s = (total.total - total.done) / total.rate if total.rate else None
        return total


def make(mode: str, quiet: bool, color: bool) -> Silent:
    """The progress for `--progress mode` (auto, bar, json, off)."""
    if mode == "json":
        return JsonLines()
    terminal = sys.stderr.isatty()
    if mode == "off" or (mode == "auto" and (quiet or not terminal)):
        return Silent()
    simple = not terminal or os.environ.get("TERM", "dumb") == "dumb"
    return Lines() if simple else Late(color)
