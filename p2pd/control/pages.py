"""Lists of the control API: pages that fit one reply (docs/control-api.md, "Lists"). Pure."""

from __future__ import annotations

from p2pd.control.items import Item
from protocol.limits import MAX_CONTROL_REPLY

PAGE_OCTETS = MAX_CONTROL_REPLY * 3 // 4


def page(items: list[Item], after: str | None) -> Item:
    """The answer of a method that lists."""
    return {"items": items, "next": after, "partial": False, "warnings": []}


def cut(items: list[Item]) -> tuple[list[Item], bool]:
    """As many of `items` as fit one reply, and whether any are left."""
    room = PAGE_OCTETS
    for index, item in enumerate(items):
        room -= len(repr(item))
        if room < 0 and index:
            return items[:index], True
    return items, False
