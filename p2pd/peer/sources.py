"""Who has a content: asks the trackers, remembers who proved good, and offers the addresses to a download.

The rule: an address from a tracker is dialled only when it passes check_dialable; with every tracker silent, sources that gave data
within a day are used.
"""

from __future__ import annotations

import asyncio
import logging
import time

from p2pd.net.addresses import Endpoint, check_dialable
from p2pd.net.reactor import Reactor
from p2pd.peer.links import Links, Peer, User
from p2pd.peer.trackers import TrackerClient
from p2pd.storage.state import State
from protocol.errors import Fault, RemoteProtocolError
from protocol.tracker import Find, Sources

log = logging.getLogger("p2pd.peer.sources")

INTERVAL_SECONDS = 5.0
REMEMBER_SECONDS = 24 * 3600.0
MAX_SOURCES = 16  # devices dialled for one download


class SourceFinder:
    """See the module."""

    def __init__(
        self, store: State, reactor: Reactor, links: Links, trackers: list[TrackerClient], own_id: bytes
    ) -> None:
        self.interval = INTERVAL_SECONDS
        self._store = store
        self._reactor = reactor
        self._links = links
        self._trackers = trackers
        self._own_id = own_id

    async def find(self, content_id: bytes) -> tuple[dict[bytes, Endpoint], list[Fault]]:
        """Sources by device id, this device left out, and what went wrong with which tracker."""
        answers = await asyncio.gather(
            *(self._ask(tracker, content_id) for tracker in self._trackers), return_exceptions=False
        )
        found: dict[bytes, Endpoint] = {}
        faults: list[Fault] = []
        for answer in answers:
            if isinstance(answer, Fault):
                faults.append(answer)
            else:
                found.update(answer)
        found.pop(self._own_id, None)
        return found, faults

    async def _ask(self, tracker: TrackerClient, content_id: bytes) -> dict[bytes, Endpoint] | Fault:
        try:
            reply = await tracker.request(Find(0, content_id), tracker.patience(len(self._trackers)))
        except Fault as fault:
            return fault
        if not isinstance(reply, Sources):
            return Fault(
                "network", f"the tracker at {tracker.endpoint} gave another answer than was asked for"
            )
        found = {}
        for source in reply.items:
            try:
                found[source.device_id] = check_dialable(source.host, source.port, tracker.loopback)
            except RemoteProtocolError as error:
                log.warning("! tracker %s named an address we do not dial: %s", tracker.endpoint, error)
        return found

    async def offer(self, content_id: bytes, user: User) -> Fault | None:
        """Attaches every source known now to a download. None, or why there is none."""
        found, faults = await self.find(content_id)
        if not found:
            known = self._store.sources(content_id, time.time() - REMEMBER_SECONDS)
            found = {source.device_id: Endpoint(source.host, source.port) for source in known}
            found.pop(self._own_id, None)
        for device_id, endpoint in list(found.items())[:MAX_SOURCES]:
            self._reactor.call(self._links.attach, device_id, endpoint, user)
        if found and self._links.foreign.all(found, self._reactor.clock()):
            return Fault(
                "auth",
                "those who have this file use another password",
                "if the password of the swarm was replaced, p2pctl rotate gives this device the new one; then p2pctl retry",
            )
        if found:
            return None
        if faults and len(faults) == len(self._trackers):
            return faults[0]
        return Fault(
            "network",
            "nobody who is reachable now has this file",
            "it starts by itself when a source appears",
        )

    def proved(self, content_id: bytes, peer: Peer) -> None:
        """This peer gave good data: remember it."""
        self._store.remember_source(
            content_id, peer.device_id, peer.endpoint.host, peer.endpoint.port, time.time()
        )
