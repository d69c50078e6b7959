"""A driver with a real part file and peers that answer when told, for the tests of p2pd/peer/driver.py."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from p2pd.engine.download import DownloadState
from p2pd.peer.driver import Driver
from p2pd.peer.owner import Owner
from p2pd.storage.partfile import PartFile
from p2pd.storage.root import Root, StorageError
from protocol.limits import MIB
from protocol.manifest import Manifest
from protocol.peer import Available, Block, Interest
from tests.fakes.manual import FakePeer, ManualReactor
from tests.fakes.swarm import manifest_of, octets

DATA = octets(4 * MIB + 100)
MANIFEST = manifest_of(DATA)


class Bench:
    """A driver with a real part file, and what it told its owner."""

    def __init__(
        self,
        directory: Path,
        manifest: Manifest = MANIFEST,
        have: int = 0,
        write: Any = None,
        window: int = 1_000_000,
    ) -> None:
        self.reactor = ManualReactor()
        self.root = Root(directory)
        more = {"write": write} if write else {}
        self.part = PartFile.create(self.root, "part", manifest, **more)
        self.state = DownloadState(manifest.size, manifest.piece_size, have, random.Random(1), window=window)
        self.pieces: list[int] = []
        self.completed = 0
        self.failures: list[StorageError] = []
        self.lost: list[tuple[str, str]] = []
        self.givers: list[str] = []
        self.commits: list[int] = []
        owner = Owner(
            complete=self._complete,
            failed=self.failures.append,
            lost=lambda peer, reason: self.lost.append((peer.name, reason)),
            gave=lambda peer: self.givers.append(peer.name),
            commit=self.commits.append,
            piece=self.pieces.append,
        )
        self.driver = Driver(self.reactor, manifest, self.part, self.state, owner)  # type: ignore[arg-type]
        self.driver.start()
        self.reactor.run()

    def _complete(self) -> None:
        self.completed += 1

    def source(self, name: str, complete: bool = True, payload: bytes = b"", rate: float = 1e9) -> FakePeer:
        """A source that has answered our interest, known to be so quick (octets a second) that it is asked for large blocks."""
        peer = FakePeer(name)
        self.state.credits.of(name).rate = rate
        self.state.credits.of(name).answered_in(0.001)
        self.driver.peer_ready(peer)  # type: ignore[arg-type]
        assert peer.messages == [Interest(0, self.driver.content_id)]
        peer.answer(Available(1, complete), payload)
        return peer

    def close(self) -> None:
        self.driver.stop()
        self.part.close()
        self.root.close()


def give(peer: FakePeer, data: bytes = DATA, index: int = 0) -> None:
    """The right answer to a request for a block."""
    request = peer.messages[index]
    start = request.piece * MIB + request.offset
    peer.answer(Block(request.req), data[start : start + request.length], index)
