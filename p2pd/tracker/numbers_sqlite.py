"""Numbers as the SQLite registry writes them: lists as one parameter, digests as keys of an index."""

from __future__ import annotations

from collections.abc import Iterable

HEAD = 7
"""Octets of a digest that are a number SQLite has (63 bits) whatever they are."""


def json_list(rows: Iterable[int]) -> str:
    """Numbers as a bound parameter of json_each."""
    return f"[{','.join(map(str, rows))}]"


def head(digest: bytes) -> int:
    """The number under which a digest is indexed."""
    return int.from_bytes(digest[:HEAD], "big")
