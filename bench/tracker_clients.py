"""Devices that speak to a tracker for bench/tracker.py: real handshakes, sealed sessions, the messages of protocol/tracker.py."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import Any

from common import ROOT  # noqa: F401  (makes the packages importable)

from p2pd.net.addresses import Endpoint
from p2pd.net.bridge import ask, run_on, settle
from p2pd.net.context import make_context
from p2pd.net.dealer import Link, Lost
from p2pd.net.identity import Identity
from p2pd.net.keyring import Keyring
from p2pd.net.reactor import Reactor
from protocol.errors import Refusal
from protocol.frames import Info
from protocol.handshake import Dialect
from protocol.keys import DeviceKey, NetworkSecret
from protocol.tracker import Announce, Announced, Publish, Published, Refused, decode_reply

EPOCH = b"bench--1"
SECONDS = 120.0


def _key(number: int) -> DeviceKey:
    return DeviceKey.from_seed(Random(f"device {number}").randbytes(32))


def device_id(number: int) -> bytes:
    """Of the device with this number."""
    return _key(number).device_id


class _From(str):
    """`SOURCE:0;HOST`: libzmq's way to say from which address to dial. The colon is none of an IPv6 literal."""

    def __contains__(self, part: object) -> bool:
        return part != ":" and super().__contains__(str(part))


class Clients:
    """Devices of one process, over one reactor. Each is known by its number."""

    def __init__(self, secret: NetworkSecret, trackers: Sequence[tuple[str, int]]) -> None:
        self._keys = Keyring(secret)
        self._endpoints = [Endpoint(*tracker) for tracker in trackers]
        self._context = make_context()
        self._executor = ThreadPoolExecutor(2, "handshake")
        self.reactor = Reactor("clients", self._context, self._executor)
        self.reactor.start()

    async def connect(self, number: int) -> Link:
        """A session as this device; tries again while the tracker takes no more handshakes."""
        identity = Identity(self._keys, _key(number), Info("p2pd/bench", 8001), os.urandom)
        deadline = time.monotonic() + SECONDS
        loop = asyncio.get_running_loop()
        while True:
            ready: asyncio.Future[Lost | None] = loop.create_future()
            # an address makes two handshakes a second (docs/protocol.md, "Limits"), so the devices live at many
            host, port = self._endpoints[number % len(self._endpoints)]
            source = f"127.0.{1 + number // 8 % 250}.{1 + number // 2000 % 250}"
            endpoint = Endpoint(_From(f"{source}:0;{host}"), port)
            link = await run_on(self.reactor, partial(self._dial, endpoint, identity, ready, loop))
            lost = await ready
            if lost is None:
                return link
            if time.monotonic() > deadline:
                raise RuntimeError(f"device {number} cannot connect: {lost.text}")
            await asyncio.sleep(max(0.2, lost.retry_s))

    def _dial(
        self,
        endpoint: Endpoint,
        identity: Identity,
        ready: asyncio.Future[Lost | None],
        loop: asyncio.AbstractEventLoop,
    ) -> Link:
        return Link(
            self.reactor,
            identity,
            Dialect.TRACKER,
            endpoint,
            decode_reply,
            on_ready=lambda link: settle(loop, ready, None),
            on_closed=lambda link, lost: settle(loop, ready, lost),
        )

    async def ask(self, link: Link, message: Any) -> Any:
        """The answer; waits and asks again when the tracker is busy. Raises RuntimeError for any other refusal."""
        while True:
            reply = await ask(self.reactor, link, message, SECONDS)
            if isinstance(reply, Lost):
                raise RuntimeError(f"the session was lost: {reply.text}")
            if not isinstance(reply, Refused):
                return reply
            if reply.code != Refusal.BUSY:
                raise RuntimeError(f"refused: {reply}")
            await asyncio.sleep(reply.retry_s)

    async def announce(self, link: Link, revision: int) -> Announced:
        """Says that the device is here."""
        reply = await self.ask(link, Announce(0, EPOCH, revision, 8001))
        assert isinstance(reply, Announced)
        return reply

    async def publish(self, link: Link, batches: Sequence[Publish]) -> None:
        """One batch after the other, as a peer does it."""
        for batch in batches:
            reply = await self.ask(link, batch)
            assert isinstance(reply, Published), reply

    def close(self, links: Sequence[Link]) -> None:
        """Ends sessions."""
        for link in links:
            self.reactor.call(link.close)

    def stop(self) -> None:
        """Ends everything."""
        self.reactor.stop(5.0)
        self._executor.shutdown()
        self._context.destroy(linger=0)
