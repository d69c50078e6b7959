"""The daemon's one control API: what each method of docs/control-api.md does. On the event loop.

The rule: a method checks its parameters, calls the roles, and answers with plain maps; everything that can go wrong
is a Fault. Knows no sockets.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

from p2pd.control import params as read_params
from p2pd.control.completing import COMPLETIONS, complete
from p2pd.control.fetching import Fetching
from p2pd.control.items import (
    Item,
    hit_item,
    member_item,
    own_hit_item,
    share_item,
)
from p2pd.control.limiting import change_limit
from p2pd.control.pages import page
from p2pd.control.searching import Searching
from p2pd.control.server import Method, Progress
from p2pd.control.sharing import Sharing
from p2pd.control.status import Status
from p2pd.control.streaming import Streaming
from p2pd.control.verifying import verify
from p2pd.control.wanting import Wanting
from p2pd.control.watching import Watching
from p2pd.events import Events
from p2pd.peer.service import PeerService
from protocol.errors import Fault
from protocol.manifest import Manifest
from protocol.tracker import Hit
from protocol.version import CONTROL_VERSION, VERSION, WIRE_VERSION


class ControlApi:
    """See the module. `peer` is None in a pure tracker; `stop()` begins an orderly shutdown; `more`: methods of other parts."""

    def __init__(
        self,
        status: Status,
        peer: PeerService | None,
        stop: Callable[[], object],
        events: Events | None = None,
        more: Mapping[str, Method] | None = None,
    ) -> None:
        self._status = status
        self._peer_service = peer
        self._stop = stop
        self.methods: dict[str, Method] = {
            "ping": self.ping,
            "version": self.version,
            "status": self.status,
            "shutdown": self.shutdown,
            **Searching(lambda: self._peer).methods,
            "info": self.info,
            "peers": self.peers,
            "complete": self.complete,
            **Sharing(lambda: self._peer).methods,
            "limit": self.limit,
            "verify": self.verify,
            **Fetching(lambda: self._peer).methods,
            **Streaming(lambda: self._peer).methods,
            **Wanting(lambda: self._peer).methods,
            "events": Watching(events or Events()).events,
            **(more or {}),
        }

    @property
    def _peer(self) -> PeerService:
        if self._peer_service is None:
            raise Fault(
                "refused",
                "this daemon is a tracker only: it shares and downloads nothing",
                "start a peer beside it with p2pd peer --tracker localhost, or this one with p2pd peer --with-tracker",
            )
        return self._peer_service

    # -- daemon -------------------------------------------------------------------------------------------

    async def ping(self, params: dict[str, Any], progress: Progress) -> Item:
        """Is anybody there?"""
        read_params.read(read_params.Nothing, params)
        return {
            "version": VERSION,
            "uptime_s": self._status.uptime(),
            "pid": os.getpid(),
            "troubles": self._status.troubles(),
        }

    async def version(self, params: dict[str, Any], progress: Progress) -> Item:
        """Versions of the program, the wire and this API."""
        read_params.read(read_params.Nothing, params)
        return {"version": VERSION, "wire_version": WIRE_VERSION, "control_version": CONTROL_VERSION}

    async def status(self, params: dict[str, Any], progress: Progress) -> Item:
        """Everything at a glance."""
        read_params.read(read_params.Nothing, params)
        return await self._status.report()

    async def shutdown(self, params: dict[str, Any], progress: Progress) -> Item:
        """Ends the daemon in order, after this answer."""
        read_params.read(read_params.Nothing, params)
        asyncio.get_running_loop().call_later(0.05, self._stop)
        return {"pid": os.getpid(), "stopping": True}

    async def limit(self, params: dict[str, Any], progress: Progress) -> Item:
        """Shows the limits of bandwidth, or changes them."""
        return change_limit(read_params.read(read_params.Limit, params), lambda: self._peer.bandwidth)

    async def verify(self, params: dict[str, Any], progress: Progress) -> Item:
        """Reads files again; mends them if asked to."""
        read_params.read(read_params.Verify, params)
        return await verify(self._peer, params, progress)

    # -- find ---------------------------------------------------------------------------------------------

    def _hit(self, hit: Hit) -> Item:
        return hit_item(hit, self._peer.catalogue.holds(hit.content_id))

    async def info(self, params: dict[str, Any], progress: Progress) -> Item:
        """All about one content."""
        asked = read_params.read(read_params.Ref, params)
        peer = self._peer
        hit, _ = await peer.finder.resolve(asked.ref)
        own = [share for share in peer.store.shares_by_content(hit.content_id) if share.state == "shared"]
        item = self._hit(hit) if hit.sources else own_hit_item(own[0]) if own else self._hit(hit)
        if hit.files:
            return {**item, **await self._folder(hit)}
        octets = peer.store.manifest(hit.content_id)
        manifest = Manifest.decode(octets, hit.content_id) if octets is not None else None
        member = peer.store.member_by_content(hit.content_id)
        path = os.path.join(member[1], member[2].path) if member is not None else None
        return {
            **item,
            "piece_size_bytes": manifest.piece_size if manifest else None,
            "pieces": manifest.count if manifest else None,
            "path": own[0].path if own else path,
            "state": share_item(own[0])["state"] if own else "shared" if path is not None else None,
            "peers": await self._holders(hit),
        }

    async def _folder(self, hit: Hit) -> Item:
        """What `info` says of a folder more than `search` does."""
        own = self._peer.store.folders_by_content(hit.content_id)
        return {
            "piece_size_bytes": None,
            "pieces": None,
            "path": own[0].path if own else None,
            "state": own[0].state if own else None,
            "peers": await self._holders(hit),
        }

    async def complete(self, params: dict[str, Any], progress: Progress) -> Item:
        """What a name that is being typed may become."""
        asked = read_params.read(read_params.Complete, params)
        return await complete(self._peer, asked.kind, asked.text, asked.limit or COMPLETIONS)

    async def _holders(self, hit: Hit) -> list[Item]:
        try:
            members, _, _ = await self._peer.finder.members(hit.content_id, "")
        except Fault:
            return []
        return [member_item(member, self._peer.own_id) for member in members]

    async def peers(self, params: dict[str, Any], progress: Progress) -> Item:
        """Devices of the swarm, or those that hold a content."""
        asked = read_params.read(read_params.Peers, params)
        peer = self._peer
        content_id = (await peer.finder.resolve(asked.ref))[0].content_id if asked.ref is not None else b""
        members, after, faults = await peer.finder.members(content_id, asked.cursor or "")
        items = [member_item(member, peer.own_id) for member in members]
        return {
            **page(items, after or None),
            "partial": bool(faults),
            "warnings": [fault.message for fault in faults],
        }
