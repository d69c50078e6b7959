"""The methods of the control API about downloads. On the event loop.

The rule: as in control/api.py, of which this is a part: parameters are checked, the peer is called, plain maps come back.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from p2pd.control import params as read_params
from p2pd.control.items import Item, progress_item, transfer_item
from p2pd.control.pages import cut, page
from p2pd.control.server import Method, Progress
from p2pd.peer.downloads import Wanted
from p2pd.peer.service import PeerService
from p2pd.peer.transfer import RETRYING, Transfer
from p2pd.storage.state import Download
from protocol.control import Reference, parse_reference
from protocol.errors import Fault
from protocol.limits import CONTROL_PAGE
from protocol.tracker import Hit

PROGRESS_SECONDS = 0.2
WATCH_SECONDS = 1.0
WATCHED = 500  # transfers under way that a watcher is told of, the first in order of their turn
POLICIES = ("fail", "skip", "rename", "overwrite")


class Fetching:
    """See the module. `peer()` is the running peer, or raises Fault refused in a pure tracker."""

    def __init__(self, peer: Callable[[], PeerService]) -> None:
        self._peer = peer
        self.methods: dict[str, Method] = {
            "download": self.download,
            "wait": self.wait,
            "transfers": self.transfers,
            "watch": self.watch,
            "pause": self.pause,
            "resume": self.resume,
            "retry": self.retry,
            "cancel": self.cancel,
            "queue": self.queue,
        }

    async def download(self, params: dict[str, Any], progress: Progress) -> Item:
        """Begins a download; answers with the transfer at once."""
        asked = read_params.read(read_params.Download, params)
        peer = self._peer()
        exists = asked.exists or "fail"
        if exists not in POLICIES:
            raise Fault("usage", f"unknown policy {exists!r}", f"one of {', '.join(POLICIES)}")
        hit, _ = await peer.finder.resolve(asked.ref)
        reference = parse_reference(asked.ref)
        wanted = Wanted(
            content_id=hit.content_id,
            name=reference.value
            if reference.kind == "name" and reference.value in hit.names
            else hit.names[0],
            size=hit.size,
            directory=os.path.realpath(asked.directory),
            file=asked.file,
            prefix="downloaded_" if asked.prefix is None else asked.prefix,
            exists=exists,
            share=peer.share_downloads if asked.share is None else asked.share,
            # Whoever asks by SHA-256 gets that SHA-256 or an error; the id alone proves every other download.
            check_sha256="" if hit.files else wanted_sha256(reference, hit),
            limit=asked.limit_bytes_per_s,
            files=hit.files,
        )
        try:
            found = await peer.downloads.add(wanted)
        except Fault as fault:
            if fault.code == "exists" and exists == "skip":
                return _skipped(wanted, hit, str(fault.details["path"]))
            raise
        return self._transfer(found)

    def _transfer(self, found: Transfer | Download) -> Item:
        row = found.row if isinstance(found, Transfer) else found
        return transfer_item(found, self._peer().sha256_of(row.content_id))

    async def wait(self, params: dict[str, Any], progress: Progress) -> Item:
        """Answers when a transfer is over, or the first of several."""
        asked = read_params.read(read_params.Wait, params)
        if (asked.transfer is None) == (asked.any is None):
            raise Fault("usage", "either `transfer` or `any`")
        downloads = self._peer().downloads
        patient = asked.patient is not False
        names = [asked.transfer] if asked.transfer is not None else list(dict.fromkeys(asked.any or []))
        while True:
            # Looked up each time: one that failed and was told to try again is another object.
            found = [downloads.get(name) for name in names]
            for one in found:
                if not isinstance(one, Transfer) or one.row.final or (not patient and one.phase == RETRYING):
                    return self._transfer(one)
            live = [one for one in found if isinstance(one, Transfer)]
            for one in live:
                await progress(progress_item(one))
            waits = {asyncio.ensure_future(one.done.wait()) for one in live}
            try:
                await asyncio.wait(waits, timeout=PROGRESS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for waiting in waits:
                    waiting.cancel()

    async def transfers(self, params: dict[str, Any], progress: Progress) -> Item:
        """All transfers, newest first."""
        asked = read_params.read(read_params.Transfers, params)
        limit = asked.limit or CONTROL_PAGE
        try:
            found = self._peer().downloads.page(limit, asked.cursor)
        except Fault as fault:
            if asked.cursor is None or fault.code != "not_found":
                raise
            raise Fault("usage", "bad cursor", "take it from `next` of the page before") from fault
        items, rest = cut([self._transfer(one) for one in found])
        more = rest or len(found) == limit
        after = items[-1]["transfer"] if more and items else None
        return page(_in_states(items, asked.states), after)

    async def watch(self, params: dict[str, Any], progress: Progress) -> Item:
        """What changes of the transfers under way, until the client has seen enough."""
        asked = read_params.read(read_params.Watch, params)
        downloads = self._peer().downloads
        told: dict[str, object] = {}
        while True:
            live = downloads.active[:WATCHED]
            ids = {one.row.transfer_id for one in live}
            # Those that ended since the last look are told a last time.
            ended = [downloads.get(name) for name in told if name not in ids]
            items = [self._transfer(one) for one in [*live, *ended]]
            news = [item for item in items if told.get(item["transfer"]) != _mark(item)]
            news, _ = cut(_in_states(news, asked.states))
            for item in news:
                told[item["transfer"]] = _mark(item)
            for one in ended:
                row = one.row if isinstance(one, Transfer) else one
                del told[row.transfer_id]
            await progress({"items": news, "live": sorted(ids), **downloads.counts()})
            await asyncio.sleep(asked.interval_s or WATCH_SECONDS)

    # -- changing -----------------------------------------------------------------------------------------

    async def pause(self, params: dict[str, Any], progress: Progress) -> Item:
        """Stops a transfer until `resume`."""
        asked = read_params.read(read_params.Transfer, params)
        return self._changed(*await self._peer().downloads.pause(asked.transfer))

    async def resume(self, params: dict[str, Any], progress: Progress) -> Item:
        """Lets a paused transfer go on."""
        asked = read_params.read(read_params.Transfer, params)
        return self._changed(*self._peer().downloads.resume(asked.transfer))

    async def retry(self, params: dict[str, Any], progress: Progress) -> Item:
        """Tries a transfer again."""
        asked = read_params.read(read_params.Transfer, params)
        return self._changed(*self._peer().downloads.retry(asked.transfer))

    async def cancel(self, params: dict[str, Any], progress: Progress) -> Item:
        """Gives a transfer up."""
        asked = read_params.read(read_params.Transfer, params)
        return self._changed(*await self._peer().downloads.cancel(asked.transfer))

    def _changed(self, found: Transfer | Download, changed: bool) -> Item:
        return {**self._transfer(found), "changed": changed}

    async def queue(self, params: dict[str, Any], progress: Progress) -> Item:
        """How many run at a time; sets it until the next start."""
        asked = read_params.read(read_params.Queue, params)
        downloads = self._peer().downloads
        if asked.max_active is not None:
            downloads.set_max_active(asked.max_active)
        counts = downloads.counts()
        return {
            "max_active": downloads.max_active,
            **{name: counts[name] for name in ("active", "queued", "paused")},
        }


def _mark(item: Item) -> object:
    """What a watcher is told of again when it differs; time passes always."""
    return {name: value for name, value in item.items() if name not in ("duration_s", "eta_s")}


def _in_states(items: list[Item], states: list[str] | None) -> list[Item]:
    return items if states is None else [item for item in items if item["state"] in states]


def describe(peer: PeerService, transfer_id: str) -> Item:
    """A transfer by its id, as `transfers` shows it. Raises Fault not_found."""
    found = peer.downloads.get(transfer_id)
    row = found.row if isinstance(found, Transfer) else found
    return transfer_item(found, peer.sha256_of(row.content_id))


def wanted_sha256(reference: Reference, hit: Hit) -> str:
    """The digits of a SHA-256 that the user gave; a content id proves itself."""
    if reference.kind == "sha256":
        return reference.value
    return reference.value if reference.kind == "id" and reference.value != hit.content_id.hex() else ""


def _skipped(wanted: Wanted, hit: Hit, path: str) -> Item:
    now = time.time()
    row = Download(
        transfer_id="",
        content_id=hit.content_id,
        name=wanted.name,
        size=hit.size,
        directory=wanted.directory,
        target_name=os.path.basename(path),
        part_name="",
        exists_policy="skip",
        state="done",
        error_code=None,
        error=None,
        created_at=now,
        finished_at=now,
        path=path,
        resumed_bytes=0,
        received_bytes=0,
        check_sha256="",
        share=False,
        from_user=False,
        part_stamp=None,
        committed=b"",
    )
    item = transfer_item(row, hit.sha256.hex())
    return {
        **item,
        "transfer": None,
        "state": "skipped",
        "received_bytes": 0,
        "verified": False,
        "sources": 0,
    }
