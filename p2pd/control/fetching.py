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
from p2pd.peer.transfer import Transfer
from p2pd.storage.state import Download
from protocol.control import Reference, parse_reference
from protocol.errors import Fault
from protocol.limits import CONTROL_PAGE
from protocol.tracker import Hit

PROGRESS_SECONDS = 0.2
POLICIES = ("fail", "skip", "rename", "overwrite")


class Fetching:
    """See the module. `peer()` is the running peer, or raises Fault refused in a pure tracker."""

    def __init__(self, peer: Callable[[], PeerService]) -> None:
        self._peer = peer
        self.methods: dict[str, Method] = {
            "download": self.download,
            "wait": self.wait,
            "transfers": self.transfers,
            "cancel": self.cancel,
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
            check_sha256=_wanted_sha256(reference, hit),
            limit=asked.limit_bytes_per_s,
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
        """Answers when a transfer is over."""
        asked = read_params.read(read_params.Transfer, params)
        found = self._peer().downloads.get(asked.transfer)
        if isinstance(found, Transfer):
            while not found.done.is_set():
                await progress(progress_item(found))
                try:
                    await asyncio.wait_for(found.done.wait(), PROGRESS_SECONDS)
                except TimeoutError:
                    continue
        return self._transfer(found)

    async def transfers(self, params: dict[str, Any], progress: Progress) -> Item:
        """All transfers, newest first."""
        asked = read_params.read(read_params.Page, params)
        limit = asked.limit or CONTROL_PAGE
        found = self._peer().downloads.page(limit, asked.cursor)
        items, rest = cut([self._transfer(one) for one in found])
        more = rest or len(found) == limit
        return page(items, items[-1]["transfer"] if more and items else None)

    async def cancel(self, params: dict[str, Any], progress: Progress) -> Item:
        """Gives a transfer up."""
        asked = read_params.read(read_params.Transfer, params)
        return self._transfer(await self._peer().downloads.cancel(asked.transfer))


def _wanted_sha256(reference: Reference, hit: Hit) -> str:
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
