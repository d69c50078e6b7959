"""Requests of one link that have no answer yet. On one thread.

The rule: every request ends in exactly one call of its callback. One that was given up keeps its number: its answer may still come, and is
dropped then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Answer = Callable[[Any, memoryview], None]
"""Called with (reply, payload), or (Lost, empty view). The payload is valid during the call, unless it is kept (landing.py)."""


class _Waiting:
    __slots__ = ("answer", "asked_at", "timeout")

    def __init__(self, answer: Answer, asked_at: float, timeout: float) -> None:
        self.answer = answer
        self.asked_at = asked_at
        self.timeout = timeout


class Pending:
    """See the module. Times in seconds of the reactor's clock."""

    def __init__(self, now: float) -> None:
        self._waiting: dict[int, _Waiting] = {}
        self._last_answer = now

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, number: int, answer: Answer, now: float, timeout: float) -> None:
        """A request is made, which may be silent for `timeout` seconds."""
        self._waiting[number] = _Waiting(answer, now, timeout)

    def answered(self, number: int, now: float) -> Answer | None:
        """Who waits for this answer; None when nobody asked."""
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return None
        self._last_answer = now
        return waiting.answer

    def late(self, now: float) -> list[Answer]:
        """Gives up what has waited too long. Requests are answered one after the other: on a slow line those in the queue wait for those
        before them, and only silence is a failure."""
        given_up = []
        for waiting in self._waiting.values():
            if now - max(waiting.asked_at, self._last_answer) > waiting.timeout:
                waiting.timeout = math.inf
                given_up.append(waiting.answer)
                waiting.answer = _ignore
        return given_up

    def clear(self) -> list[Answer]:
        """No answer will come any more."""
        waiting, self._waiting = self._waiting, {}
        return [each.answer for each in waiting.values()]


def _ignore(reply: Any, payload: memoryview) -> None:
    """The answer of a request that was given up."""
