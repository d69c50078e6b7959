"""The method `limit` of the control API: what it changes and what it shows."""

from __future__ import annotations

from collections.abc import Callable

from p2pd.control.items import Item
from p2pd.control.params import Limit
from p2pd.peer.bandwidth import DIRECTIONS, Bandwidth, Flow
from protocol.errors import Fault
from protocol.sizes import MIN_RATE


def change_limit(asked: Limit, bandwidth: Callable[[], Bandwidth]) -> Item:
    """Does it; the items of one direction or of both. Raises Fault usage, refused (no peer here), storage."""
    rate = asked.limit_bytes_per_s
    if rate is not None and asked.default:
        raise Fault("usage", "a limit or the default, not both")
    if rate is not None and 0 < rate < MIN_RATE:
        raise Fault("usage", f"a limit is {MIN_RATE} octets a second or more", "0 is no limit")
    found = bandwidth()
    directions = DIRECTIONS if asked.direction is None else (asked.direction,)
    if rate is not None or asked.default:
        for direction in directions:
            found.set(direction, None if asked.default else rate)
    items = [limit_item(found.flow(direction)) for direction in directions]
    return {"items": items, "next": None, "partial": False, "warnings": []}


def limit_item(flow: Flow) -> Item:
    """One direction."""
    return {
        "direction": flow.direction,
        "limit_bytes_per_s": flow.limit or None,
        "rate_bytes_per_s": flow.rate,
        "origin": "limit" if flow.override else "settings",
    }
