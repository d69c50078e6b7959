"""The method `logs` of the control API: the last lines of the log, and those that follow. On the event loop.

The rule: a request is one look at the ring (p2pd/logring.py), after a wait when there is nothing; the client asks again. So a reader that
does not read has nothing queued for it anywhere, and learns how many lines it missed.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from p2pd.control import params as read_params
from p2pd.control.items import Item
from p2pd.control.pages import cut
from p2pd.control.server import Progress
from p2pd.logring import Line, Ring, at_least
from protocol.limits import CONTROL_PAGE

MESSAGE = 1000  # characters of a message that travel,
TRACEBACK = 60  # lines of a traceback, the last ones,
TRACEBACK_LINE = 500  # and characters of each


class LogLines:
    """See the module."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    async def logs(self, params: dict[str, Any], progress: Progress) -> Item:
        """The newest lines, or those after a number."""
        asked = read_params.read(read_params.Logs, params)
        level = asked.level or "debug"
        lost = 0
        if asked.after is None:
            count = CONTROL_PAGE if asked.lines is None else asked.lines
            newest, last = self._ring.newest(count, level)
            return _answer(_newest([line_item(line, number) for number, line in newest]), last, lost)
        loop = asyncio.get_running_loop()
        until = loop.time() + (asked.wait_s or 0.0)
        after = asked.after
        while True:
            found, last, missed = self._ring.after(after, CONTROL_PAGE)
            lost += missed
            items = [line_item(line, number) for number, line in found if at_least(line, level)]
            if items or lost or loop.time() >= until:
                break
            after = last
            await self._ring.wait(after, until - loop.time())
        items, rest = cut(items)
        return _answer(items, items[-1]["seq"] if rest else last, lost)


def _newest(items: list[Item]) -> list[Item]:
    """As many of the last as fit one reply."""
    kept, _ = cut(items[::-1])
    return kept[::-1]


def _answer(items: list[Item], last: int, lost: int) -> Item:
    return {"items": items, "next": str(last), "partial": bool(lost), "warnings": [], "lost": lost}


def line_item(line: Line, number: int) -> Item:
    """One line of the log."""
    moment = datetime.fromtimestamp(line.time, UTC)
    traceback = [part[:TRACEBACK_LINE] for part in line.exception.split("\n")[-TRACEBACK:]]
    return {
        "seq": number,
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": line.level,
        "area": line.area,
        "message": line.message[:MESSAGE],
        "exception": traceback if line.exception else None,
    }
