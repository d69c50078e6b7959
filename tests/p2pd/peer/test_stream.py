"""p2pd/peer/stream.py: a file in order to one reader, from our disk or the swarm, and nothing that is not right."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from p2pd.peer import attempt as attempt_module
from p2pd.peer import driver as driver_module
from p2pd.peer.stream import Asked, Stream
from p2pd.peer.streambuffer import WINDOW
from p2pd.storage.hashing import stamp_from
from protocol.limits import MIB
from protocol.manifest import Manifest
from tests.fakes.reactors import DEADLINE
from tests.fakes.swarm import (
    Member,
    Swarm,
    eventually,
    in_swarm,
    lie,
    look_often,
    manifest_of,
    octets,
    spoil,
)
from tests.p2pd.peer.test_tap import exactly

DATA = octets(6 * MIB + 17)
MANIFEST = manifest_of(DATA)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(driver_module, "TICK_SECONDS", 0.05)


def begin(member: Member, manifest: Manifest = MANIFEST, check_sha256: str = "") -> Stream:
    return member.service.streams.add(Asked(manifest.content_id, "a.bin", manifest.size, check_sha256))


class Reader:
    """The client's end of a stream."""

    def __init__(self, stream: Stream) -> None:
        self.conn = socket.socket(socket.AF_UNIX)
        self.conn.settimeout(DEADLINE)
        self.conn.connect(str(stream.path))

    async def some(self, octets: int) -> bytes:
        return await asyncio.to_thread(exactly, self.conn, octets)

    async def rest(self) -> bytes:
        """Until the end, as the client takes it: a connection that nobody had accepted yet ends with a reset."""
        read = bytearray()
        with self.conn, suppress(ConnectionResetError):
            while data := await asyncio.to_thread(self.conn.recv, MIB):
                read += data
        return bytes(read)


async def over(stream: Stream) -> str:
    await asyncio.wait_for(stream.over.wait(), DEADLINE)
    return stream.state


def nothing_kept(member: Member) -> bool:
    """No file of it anywhere, and no row."""
    names = {path.name for path in member.home.iterdir()}
    return not member.service.store.list_downloads() and not any(name.startswith("s-") for name in names)


def test_a_file_comes_from_the_swarm_and_nothing_is_kept(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        stream = begin(bob)
        assert await Reader(stream).rest() == DATA
        assert await over(stream) == "done"
        assert (stream.sent, stream.received, stream.size) == (len(DATA), len(DATA), len(DATA))
        assert list(stream.givers.values()) == [f"127.0.0.1:{alice.service.router.port}"]
        assert stream.rate > 0
        assert os.listdir(bob.files) == []
        await eventually(lambda: nothing_kept(bob))

    in_swarm(tmp_path, work)


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1])
def test_sizes_at_the_edges(tmp_path: Path, size: int) -> None:
    data = octets(size)

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", data)
        stream = begin(bob, manifest_of(data))
        assert await Reader(stream).rest() == data
        assert await over(stream) == "done"

    in_swarm(tmp_path, work)


def test_a_file_that_is_shared_here_comes_from_the_disk(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice = await swarm.peer("alice")
        await alice.share("a.bin", DATA)
        stream = begin(alice)
        assert await Reader(stream).rest() == DATA
        assert await over(stream) == "done"
        assert (stream.received, stream.givers) == (0, {})

    in_swarm(tmp_path, work)


def test_a_file_that_was_downloaded_here_comes_from_the_disk(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        assert (await bob.fetch(MANIFEST, share=False)).state == "done"
        await swarm.leave(alice)
        stream = begin(bob)
        assert await Reader(stream).rest() == DATA
        assert stream.received == 0

    in_swarm(tmp_path, work)


def test_what_is_wrong_on_our_own_disk_comes_from_others(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        await bob.share("b.bin", DATA)
        damaged = bytearray(DATA)
        damaged[2 * MIB] ^= 1
        (bob.files / "b.bin").write_bytes(damaged)
        stream = begin(bob)
        assert await Reader(stream).rest() == DATA
        assert await over(stream) == "done"
        assert stream.received == len(DATA) - 2 * MIB

    in_swarm(tmp_path, work)


def test_a_liar_gets_nothing_through(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        liar, bob = await swarm.peer("liar"), await swarm.peer("bob")
        spoil(liar, lie)
        await liar.share("a.bin", DATA)
        look_often(bob)
        stream = begin(bob)
        reader = Reader(stream)
        await eventually(lambda: stream._liar)
        assert stream.sent == 0
        honest = await swarm.peer("honest")
        await honest.share("b.bin", DATA)
        assert await reader.rest() == DATA
        assert list(stream.givers.values()) == [f"127.0.0.1:{honest.service.router.port}"]

    in_swarm(tmp_path, work)


def test_a_source_that_is_lost_in_the_middle_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 0.0)
    data = octets(WINDOW + 8 * MIB)
    manifest = manifest_of(data)

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", data)
        look_often(bob)
        stream = begin(bob, manifest)
        reader = Reader(stream)
        read = await reader.some(MIB)
        await eventually(lambda: stream.received >= WINDOW)
        await swarm.leave(alice)
        await eventually(lambda: stream.state == "stalled")
        alice = await swarm.peer("alice")
        assert read + await reader.rest() == data
        assert await over(stream) == "done"

    in_swarm(tmp_path, work)


def test_a_reader_that_does_not_read_bounds_what_is_fetched(tmp_path: Path) -> None:
    data = octets(WINDOW + 8 * MIB)

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", data)
        stream = begin(bob, manifest_of(data))
        reader = Reader(stream)
        await eventually(lambda: stream.received >= WINDOW)
        driver = stream._driver
        assert driver is not None
        state = driver._state
        await eventually(lambda: not state.pieces.in_flight)
        assert stream.received <= WINDOW + MIB  # one piece may be on its way into the socket
        assert await reader.rest() == data

    in_swarm(tmp_path, work)


def test_a_reader_that_goes_ends_it(tmp_path: Path) -> None:
    data = octets(WINDOW + 8 * MIB)

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", data)
        stream = begin(bob, manifest_of(data))
        reader = Reader(stream)
        assert await reader.some(1) == data[:1]
        reader.conn.close()
        assert await over(stream) == "stopped"
        assert bob.service.streams.active == []
        assert stream._driver is None

    in_swarm(tmp_path, work)


def test_a_file_nobody_has_fails_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 0.1)

    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        look_often(bob, 0.02)
        stream = begin(bob)
        reader = Reader(stream)
        assert await over(stream) == "failed"
        assert stream.fault is not None
        assert stream.fault.code == "network"
        assert await reader.rest() == b""

    in_swarm(tmp_path, work)


def test_only_a_liar_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "HOPE_SECONDS", 0.1)

    async def work(swarm: Swarm) -> None:
        liar, bob = await swarm.peer("liar"), await swarm.peer("bob")
        spoil(liar, lie)
        await liar.share("a.bin", DATA)
        look_often(bob, 0.05)
        stream = begin(bob)
        reader = Reader(stream)
        assert await over(stream) == "failed"
        assert stream.fault is not None
        assert stream.fault.code == "integrity"
        assert await reader.rest() == b""

    in_swarm(tmp_path, work)


def test_a_sha256_that_was_asked_for(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        good = begin(bob, check_sha256=MANIFEST.sha256.hex())
        assert await Reader(good).rest() == DATA
        other = begin(bob, check_sha256="00" * 8)
        reader = Reader(other)
        assert await over(other) == "failed"
        assert other.fault is not None
        assert other.fault.code == "integrity"
        assert await reader.rest() == b""

    in_swarm(tmp_path, work)


def test_a_sha256_that_was_claimed_wrongly_never_lets_the_whole_file_through(tmp_path: Path) -> None:
    lying = manifest_of(DATA, bytes(range(32)))

    async def work(swarm: Swarm) -> None:
        liar, bob = await swarm.peer("liar"), await swarm.peer("bob")
        path = liar.files / "a.bin"
        path.write_bytes(DATA)
        store, shares = liar.service.store, liar.service.shares
        share = store.add_share(str(path), "a.bin", 1.0)
        shares._serve_known(store.set_shared(share.share_id, lying, stamp_from(path.stat()), 1.0))
        liar.service._changed()
        await liar.published()
        stream = begin(bob, lying, check_sha256=lying.sha256.hex())
        assert await Reader(stream).rest() == DATA[: 6 * MIB]
        assert await over(stream) == "failed"
        assert stream.fault is not None
        assert stream.fault.code == "integrity"

    in_swarm(tmp_path, work)


def test_the_end_of_the_daemon_ends_it(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        stream = begin(bob)
        reader = Reader(stream)
        await swarm.leave(bob)
        assert stream.state == "stopped"
        assert await reader.rest() == b""

    in_swarm(tmp_path, work)
