"""The methods of the control API about what is wanted and not there yet. On the event loop.

The rule: as in control/api.py. What a person wrote is taken apart as `search` does it; a bare text is words to search for.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from msgspec import Meta, Struct

from p2pd.control import params as read_params
from p2pd.control.fetching import POLICIES
from p2pd.control.items import HINTS, Item, fault_item, timestamp
from p2pd.control.pages import cut, page
from p2pd.control.searching import query_of
from p2pd.control.server import Method, Progress
from p2pd.peer.finding import Query
from p2pd.peer.service import PeerService
from p2pd.peer.transfer import Transfer
from p2pd.peer.wants import Spec
from p2pd.storage.state_wants import WANTED, StoredWant
from protocol.errors import Fault
from protocol.ids import CONTENT_ID_SIZE, MIN_PREFIX, is_hex
from protocol.limits import CONTROL_PAGE, MAX_PATH
from protocol.searching import fold
from protocol.tracker import By

PROGRESS_SECONDS = 1.0
WHOLE = 2 * CONTENT_ID_SIZE

WantId = Annotated[str, Meta(max_length=24)]


class Want(Struct, forbid_unknown_fields=True):
    """want"""

    text: read_params.Text
    directory: read_params.Path
    ext: Annotated[str, Meta(max_length=32)] | None = None
    min_size_bytes: read_params.Octets | None = None
    max_size_bytes: read_params.Octets | None = None
    file: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    prefix: Annotated[str, Meta(max_length=64)] | None = None
    exists: str | None = None
    share: bool | None = None
    limit_bytes_per_s: read_params.Rate | None = None


class One(Struct, forbid_unknown_fields=True):
    """unwant, await_want"""

    want: WantId


class Wants(Struct, forbid_unknown_fields=True):
    """wants"""

    all: bool | None = False
    cursor: str | None = None
    limit: read_params.PageSize | None = None


class Wanting:
    """See the module. `peer()` is the running peer, or raises Fault refused in a pure tracker."""

    def __init__(self, peer: Callable[[], PeerService]) -> None:
        self._peer = peer
        self.methods: dict[str, Method] = {
            "want": self.want,
            "wants": self.wants,
            "unwant": self.unwant,
            "await_want": self.await_want,
        }

    async def want(self, params: dict[str, Any], progress: Progress) -> Item:
        """Downloads something as soon as somebody has it."""
        asked = read_params.read(Want, params)
        peer = self._peer()
        exists = asked.exists or "fail"
        if exists not in POLICIES or exists == "skip":
            raise Fault("usage", f"unknown policy {exists!r}", "one of fail, rename, overwrite")
        directory = os.path.realpath(asked.directory)
        if not os.path.isdir(directory):
            raise Fault(
                "storage", f"there is no directory {directory}", "make it first, or choose another with -o"
            )
        spec = Spec(
            what=asked.text.strip(),
            queries=_queries(asked),
            directory=directory,
            file=asked.file,
            prefix="downloaded_" if asked.prefix is None else asked.prefix,
            exists=exists,
            share=peer.share_downloads if asked.share is None else asked.share,
            limit=asked.limit_bytes_per_s or 0,
        )
        stored = peer.wants.add(spec)
        await peer.finder.settle()
        return self._item(peer.wants.get(stored.want))

    async def wants(self, params: dict[str, Any], progress: Progress) -> Item:
        """What is waited for; with `all` also what came of those that are over."""
        asked = read_params.read(Wants, params)
        found = self._peer().wants.all(waiting=not asked.all)
        start = next((i for i, one in enumerate(found) if one.want == asked.cursor), -1) + 1
        limit = asked.limit or CONTROL_PAGE
        items, rest = cut([self._item(one) for one in found[start : start + limit]])
        more = rest or len(found) > start + limit
        return page(items, items[-1]["want"] if more and items else None)

    async def unwant(self, params: dict[str, Any], progress: Progress) -> Item:
        """Gives one up."""
        asked = read_params.read(One, params)
        wants = self._peer().wants
        item = self._item(wants.get(asked.want))
        return {**item, "changed": wants.drop(asked.want)}

    async def await_want(self, params: dict[str, Any], progress: Progress) -> Item:
        """Answers when it has become a download, or failed. Raises Fault not_found, also when it is given up meanwhile; auth or refused
        while no tracker listens to this device."""
        asked = read_params.read(One, params)
        wants = self._peer().wants
        await self._peer().finder.settle()
        while (stored := wants.get(asked.want)).state == WANTED:
            if (trouble := wants.trouble()) is not None:
                raise trouble
            await progress({"want": stored.want, "what": Spec.read(stored.spec).what, "state": stored.state})
            await wants.changed(PROGRESS_SECONDS)
        return self._item(stored)

    def _item(self, stored: StoredWant) -> Item:
        spec = Spec.read(stored.spec)
        state = path = None
        if stored.transfer is not None:
            try:
                found = self._peer().downloads.get(stored.transfer)
            except Fault:
                pass  # forgotten since
            else:
                row = found.row if isinstance(found, Transfer) else found
                state = row.state
                path = row.path if row.path is not None else os.path.join(row.directory, row.target_name)
        error = None
        if stored.error_code is not None:
            error = {
                "code": stored.error_code,
                "message": stored.error or "",
                "hint": HINTS.get(stored.error_code, ""),
            }
        elif stored.state == WANTED:
            error = fault_item(self._peer().wants.trouble())
        return {
            "want": stored.want,
            "what": spec.what,
            "state": stored.state,
            "transfer": stored.transfer,
            "transfer_state": state,
            "directory": spec.directory,
            "path": path,
            "error": error,
            "created_at": timestamp(stored.created_at),
            "changed_at": timestamp(stored.changed_at),
        }


def _queries(asked: Want) -> tuple[Query, ...]:
    """What to look for, the better first. Raises Fault usage."""
    text = asked.text.strip()
    if text.startswith("name:"):
        name = unicodedata.normalize("NFC", text.removeprefix("name:"))
        if not name or len(name.encode("utf-8", "replace")) > MAX_PATH:
            raise Fault(
                "usage", "name: is followed by the whole name of a file", "p2pctl want name:report.pdf"
            )
        plain = query_of(read_params.Search("x", asked.ext, asked.min_size_bytes, asked.max_size_bytes))
        return (replace(plain, by=By.NAME, text=name),)
    query = query_of(read_params.Search(text, asked.ext, asked.min_size_bytes, asked.max_size_bytes))
    digits = fold(text)
    if query.by is By.TEXT and MIN_PREFIX <= len(digits) <= WHOLE and is_hex(digits):
        named = tuple(replace(query, by=by, text=digits) for by in (By.ID, By.SHA256))
        return named if len(digits) == WHOLE else (*named, query)
    return (query,)
