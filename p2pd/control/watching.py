"""The method `events` of the control API. On the event loop.

The rule: a request is one look at the ring (p2pd/events.py), after a wait when there is nothing; the client asks again. So a reader that
does not read has nothing queued for it anywhere.
"""

from __future__ import annotations

import asyncio
from typing import Any

from p2pd.control import params as read_params
from p2pd.control.items import Item
from p2pd.control.pages import cut
from p2pd.control.server import Progress
from p2pd.events import Events, chosen
from protocol.limits import CONTROL_PAGE


class Watching:
    """See the module."""

    def __init__(self, events: Events) -> None:
        self._events = events

    async def events(self, params: dict[str, Any], progress: Progress) -> Item:
        """What happened after a cursor."""
        asked = read_params.read(read_params.Events, params)
        events = self._events
        kinds = chosen(asked.kinds)
        after, ours = (events.last, True) if asked.cursor is None else events.position(asked.cursor)
        loop = asyncio.get_running_loop()
        until = loop.time() + (asked.wait_s or 0.0)
        while True:
            found = events.read(after, ours, kinds, asked.limit or CONTROL_PAGE)
            if found.items or loop.time() >= until:
                break
            after, ours = found.after, True
            await events.wait(after, until - loop.time())
        items, rest = cut(found.items)
        after = items[-1]["seq"] if rest else found.after
        return {
            "items": items,
            "next": events.cursor(after),
            "partial": False,
            "warnings": [],
            "more": rest or found.more,
        }
