"""Uploads over one real file, with connections that keep what is sent."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from p2pd.peer.catalogue import Catalogue, Served
from p2pd.peer.uploads import Uploads
from p2pd.storage.hashing import stamp_from
from protocol.codec import encode
from protocol.frames import Info
from protocol.limits import MIB
from tests.fakes.manual import ManualReactor
from tests.fakes.swarm import manifest_of, octets

DATA = octets(2 * MIB + 9)
MANIFEST = manifest_of(DATA)
ID = MANIFEST.content_id


class FakeDraft:
    """Stands in for net.drafts.SealedDraft."""

    def __init__(self, conn: FakeConn, message: object, octets: int) -> None:
        self._conn, self._message = conn, message
        self.payload = memoryview(bytearray(octets))

    def send(self) -> None:
        self._conn.send(self._message, self.payload)

    def drop(self) -> None:
        self._conn.dropped += 1


class FakeConn:
    """Stands in for router.Conn: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, bytes]] = []
        self.blocked = False
        self.closed = False
        self.reason = ""
        self.failing = False
        self.dropped = 0  # drafts without a payload
        self.info = Info("")

    def send(self, message: object, payload: Any = b"") -> None:
        if self.failing:
            raise RuntimeError("a bug")
        self.sent.append((message, bytes(payload)))

    def draft(self, message: object, octets: int) -> FakeDraft:
        return FakeDraft(self, message, octets)

    def close(self, reason: str) -> None:
        self.closed = True
        self.reason = reason


class Bench:
    """Uploads over one real file."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "a.bin"
        self.path.write_bytes(DATA)
        self.catalogue = Catalogue({ID: MANIFEST.encode()}.get)
        self.changed: list[Served] = []
        self.reactor = ManualReactor()
        self.uploads = Uploads(self.catalogue, self.changed.append)
        self.uploads.router = SimpleNamespace(reactor=self.reactor)  # type: ignore[assignment]
        self.serve()

    def serve(self) -> None:
        stamp = stamp_from(os.stat(self.path))
        self.catalogue.put(Served(ID, 1, str(self.path), stamp, MANIFEST.size, MIB, MANIFEST.count))

    def conn(self) -> FakeConn:
        conn = FakeConn()
        self.uploads.opened(conn)  # type: ignore[arg-type]
        return conn

    def ask(self, conn: FakeConn, message: object, run: bool = True) -> None:
        self.uploads.message(conn, memoryview(encode(message)), memoryview(b""))  # type: ignore[arg-type]
        if run:
            self.reactor.run()
