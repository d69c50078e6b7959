"""p2pd/peer/uploads.py: one answer for each request, in turns, and never an octet of a file that changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pd.peer.catalogue import Catalogue, Served
from p2pd.peer.growing import Growing
from p2pd.peer.uploads import OPEN_FILES, Uploads
from p2pd.storage.hashing import stamp_from
from protocol import limits
from protocol.codec import encode
from protocol.errors import Refusal, RemoteProtocolError
from protocol.frames import Info
from protocol.limits import MANIFEST_PART, MIB
from protocol.peer import (
    Available,
    Block,
    Cancel,
    Contents,
    Done,
    GetBlock,
    GetContents,
    GetManifest,
    Have,
    Interest,
    ManifestPart,
    Refused,
)
from tests.fakes.manual import ManualReactor
from tests.fakes.swarm import manifest_of, octets

DATA = octets(2 * MIB + 9)
MANIFEST = manifest_of(DATA)
ID = MANIFEST.content_id


class FakeConn:
    """Stands in for router.Conn: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, bytes]] = []
        self.blocked = False
        self.closed = False
        self.reason = ""
        self.failing = False
        self.info = Info("")

    def send(self, message: object, payload: Any = b"") -> None:
        if self.failing:
            raise RuntimeError("a bug")
        self.sent.append((message, bytes(payload)))

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


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.uploads.close()


def test_interest_is_answered_by_what_is_served(bench: Bench) -> None:
    conn = bench.conn()
    bench.ask(conn, Interest(1, ID))
    bench.ask(conn, Interest(2, bytes(32)))
    assert conn.sent == [(Available(1, True), b""), (Refused(2, Refusal.NOT_FOUND), b"")]


def test_a_manifest_travels_in_parts(bench: Bench) -> None:
    manifest = bytes(range(256)) * 2048
    bench.catalogue._load_manifest = {ID: manifest}.get
    conn = bench.conn()
    got = b""
    while len(got) < len(manifest):
        bench.ask(conn, GetManifest(1, ID, len(got)))
        message, payload = conn.sent.pop()
        assert message == ManifestPart(1, len(manifest))
        assert 0 < len(payload) <= MANIFEST_PART
        got += payload
    assert got == manifest
    bench.ask(conn, GetManifest(2, bytes(32), 0))
    assert conn.sent == [(Refused(2, Refusal.NOT_FOUND), b"")]
    bench.ask(conn, GetManifest(3, ID, len(got)))
    assert conn.closed


def test_manifests_count_against_the_credit(bench: Bench) -> None:
    conn = bench.conn()
    for number in range(limits.MAX_OUTSTANDING_BLOCKS + 1):
        bench.ask(conn, GetManifest(number, ID, 0), run=False)
    assert conn.sent == [(Refused(64, Refusal.LIMIT, 1), b"")]


def test_blocks_are_read_from_the_file_in_place(bench: Bench) -> None:
    conn = bench.conn()
    for request in (GetBlock(1, ID, 0, 0, MIB), GetBlock(2, ID, 1, 100, 50), GetBlock(3, ID, 2, 0, 9)):
        bench.ask(conn, request)
    assert conn.sent == [
        (Block(1), DATA[:MIB]),
        (Block(2), DATA[MIB + 100 : MIB + 150]),
        (Block(3), DATA[2 * MIB :]),
    ]
    assert bench.uploads.uploaded == MIB + 59
    assert bench.uploads.active == 0


@pytest.mark.parametrize(
    "request_", [GetBlock(1, ID, 3, 0, 1), GetBlock(1, ID, 2, 0, 10), GetBlock(1, ID, 0, MIB, 1)]
)
def test_octets_beyond_the_end_end_the_session(bench: Bench, request_: GetBlock) -> None:
    conn = bench.conn()
    bench.ask(conn, request_)
    assert conn.closed
    assert conn.sent == []


def test_a_request_with_a_payload_or_garbage_breaks_the_rules(bench: Bench) -> None:
    conn = bench.conn()
    with pytest.raises(RemoteProtocolError):
        bench.uploads.message(conn, memoryview(encode(Interest(1, ID))), memoryview(b"x"))  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError):
        bench.uploads.message(conn, memoryview(b"\x92\x10"), memoryview(b""))  # type: ignore[arg-type]


def test_peers_take_turns(bench: Bench) -> None:
    first, second = bench.conn(), bench.conn()
    order: list[str] = []
    for conn, name in ((first, "first"), (second, "second")):
        real = conn.send
        conn.send = lambda message, payload=b"", name=name, real=real: (
            order.append(name),
            real(message, payload),
        )[1]  # type: ignore[method-assign]
    for number in range(3):
        bench.ask(first, GetBlock(number, ID, 0, 0, 1), run=False)
    for number in range(3):
        bench.ask(second, GetBlock(number, ID, 0, 0, 1), run=False)
    assert bench.uploads.active == 2
    bench.reactor.run()
    assert order == ["first", "second"] * 3


def test_what_one_peer_may_have_waiting_is_bounded(bench: Bench) -> None:
    conn = bench.conn()
    for number in range(limits.MAX_OUTSTANDING_BLOCKS + 2):
        bench.ask(conn, GetBlock(number, ID, 0, 0, 1), run=False)
    assert conn.sent == [(Refused(64, Refusal.LIMIT, 1), b""), (Refused(65, Refusal.LIMIT, 1), b"")]
    bench.reactor.run()
    assert [message.req for message, _ in conn.sent[2:]] == list(range(64))


def test_a_blocked_peer_waits_for_room_and_holds_up_nobody(bench: Bench) -> None:
    slow, quick = bench.conn(), bench.conn()
    slow.blocked = True
    bench.ask(slow, GetBlock(1, ID, 0, 0, 1), run=False)
    bench.ask(quick, GetBlock(2, ID, 0, 0, 1))
    assert (len(slow.sent), len(quick.sent)) == (0, 1)
    slow.blocked = False
    bench.uploads.writable(slow)  # type: ignore[arg-type]
    bench.reactor.run()
    assert slow.sent == [(Block(1), DATA[:1])]


def test_cancel_answers_what_waits_for_this_content(bench: Bench) -> None:
    conn = bench.conn()
    bench.ask(conn, GetBlock(1, ID, 0, 0, 1), run=False)
    bench.ask(conn, GetBlock(2, bytes(32), 0, 0, 1), run=False)
    bench.ask(conn, GetBlock(3, ID, 0, 0, 1), run=False)
    bench.ask(conn, Cancel(4, ID))
    assert conn.sent == [
        (Refused(1, Refusal.CANCELLED), b""),
        (Refused(3, Refusal.CANCELLED), b""),
        (Done(4), b""),
        (Refused(2, Refusal.NOT_FOUND), b""),
    ]


def test_cancel_of_some_pieces_leaves_the_others_and_the_manifest(bench: Bench) -> None:
    conn = bench.conn()
    bench.ask(conn, GetBlock(1, ID, 0, 0, 1), run=False)
    bench.ask(conn, GetBlock(2, ID, 1, 0, 1), run=False)
    bench.ask(conn, GetManifest(3, ID, 0), run=False)
    bench.ask(conn, GetBlock(4, ID, 1, 1, 1), run=False)
    bench.ask(conn, Cancel(5, ID, [1, 2]))
    assert [(message.req, type(message)) for message, _ in conn.sent] == [
        (2, Refused),
        (4, Refused),
        (5, Done),
        (1, Block),
        (3, ManifestPart),
    ]


def test_whoever_leaves_is_served_no_more(bench: Bench) -> None:
    conn, other = bench.conn(), bench.conn()
    bench.ask(conn, GetBlock(1, ID, 0, 0, 1), run=False)
    bench.ask(other, GetBlock(2, ID, 0, 0, 1), run=False)
    bench.uploads.closed(conn)  # type: ignore[arg-type]
    bench.reactor.run()
    assert conn.sent == []
    assert len(other.sent) == 1


def test_a_bug_with_one_peer_does_not_stop_the_others(bench: Bench) -> None:
    bad, good = bench.conn(), bench.conn()
    bad.failing = True
    bench.ask(bad, GetBlock(1, ID, 0, 0, 1), run=False)
    bench.ask(good, GetBlock(2, ID, 0, 0, 1), run=False)
    with pytest.raises(RuntimeError):
        bench.reactor.run()
    # A reactor forgets work that failed; the next request brings it back.
    bench.reactor.works.clear()
    bench.ask(good, GetBlock(3, ID, 0, 0, 1))
    assert [message.req for message, _ in good.sent] == [2, 3]


# -- files that change ------------------------------------------------------------------------------------


def test_a_written_file_is_refused_withdrawn_and_reported_once(bench: Bench) -> None:
    conn = bench.conn()
    bench.ask(conn, GetBlock(1, ID, 0, 0, 5))
    with bench.path.open("r+b") as stream:
        stream.write(b"changed")
    os.utime(bench.path, ns=(1, 1))
    bench.ask(conn, GetBlock(2, ID, 0, 0, 5))
    bench.ask(conn, GetBlock(3, ID, 0, 0, 5))
    assert [message for message, _ in conn.sent[1:]] == [
        Refused(2, Refusal.CHANGED),
        Refused(3, Refusal.NOT_FOUND),
    ]
    assert len(bench.changed) == 1
    assert bench.catalogue.find(ID) is None


@pytest.mark.parametrize("how", ["gone", "shorter", "replaced", "folder", "link"])
def test_other_ways_to_change(bench: Bench, how: str) -> None:
    if how == "gone":
        bench.path.unlink()
    elif how == "shorter":
        os.truncate(bench.path, 10)
    elif how == "folder":
        bench.path.unlink()
        bench.path.mkdir()
    else:
        other = bench.path.with_name("other")
        other.write_bytes(DATA)
        if how == "link":
            bench.path.unlink()
            bench.path.symlink_to(other)
        else:
            other.replace(bench.path)
    conn = bench.conn()
    bench.ask(conn, GetBlock(1, ID, 1, 0, 5))
    assert conn.sent == [(Refused(1, Refusal.CHANGED), b"")]
    assert len(bench.changed) == 1


def test_a_file_written_while_it_is_read_is_not_served(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv

    def write_meanwhile(fd: int, buffers: Any, offset: int) -> int:
        count = real(fd, buffers, offset)
        os.utime(bench.path, ns=(1, 1))
        return count

    monkeypatch.setattr(os, "preadv", write_meanwhile)
    conn = bench.conn()
    bench.ask(conn, GetBlock(1, ID, 0, 0, 5))
    assert conn.sent == [(Refused(1, Refusal.CHANGED), b"")]


def test_a_file_hashed_again_is_opened_again(bench: Bench) -> None:
    conn = bench.conn()
    bench.ask(conn, GetBlock(1, ID, 0, 0, 5))
    bench.path.unlink()
    bench.path.write_bytes(b"other" + DATA[5:])
    bench.serve()
    bench.ask(conn, GetBlock(2, ID, 0, 0, 5))
    assert conn.sent[1] == (Block(2), b"other")
    assert not bench.changed


def test_a_forgotten_file_is_closed(bench: Bench) -> None:
    before = len(os.listdir("/proc/self/fd"))
    bench.ask(bench.conn(), GetBlock(1, ID, 0, 0, 5))
    assert len(os.listdir("/proc/self/fd")) == before + 1
    bench.uploads.forget(ID)
    bench.uploads.forget(ID)
    assert len(os.listdir("/proc/self/fd")) == before


def test_open_files_are_bounded(bench: Bench, tmp_path: Path) -> None:
    conn = bench.conn()
    before = len(os.listdir("/proc/self/fd"))
    for number in range(OPEN_FILES + 6):
        path = tmp_path / str(number)
        path.write_bytes(b"12345")
        content_id = number.to_bytes(32, "big")
        bench.catalogue.put(Served(content_id, number, str(path), stamp_from(os.stat(path)), 5, MIB, 1))
        bench.ask(conn, GetBlock(number, content_id, 0, 0, 5))
    assert len(os.listdir("/proc/self/fd")) == before + OPEN_FILES
    bench.ask(conn, GetBlock(99, bytes(32), 0, 0, 5))
    assert conn.sent[-1] == (Block(99), b"12345")


def test_small_contents_come_in_one_answer_and_take_their_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    small = tmp_path / "small"
    small.write_bytes(b"tiny")
    content_id = manifest_of(b"tiny").content_id
    bench.catalogue.put(Served(content_id, 2, str(small), stamp_from(os.stat(small)), 4, MIB, 1))
    conn = bench.conn()
    bench.uploads.message(
        conn, memoryview(encode(GetContents(7, [content_id, bytes(32), content_id]))), memoryview(b"")
    )  # type: ignore[arg-type]
    assert conn.sent == []
    bench.uploads.message(conn, memoryview(encode(Cancel(8, ID))), memoryview(b""))  # type: ignore[arg-type]
    bench.reactor.run()
    assert conn.sent == [(Done(8), b""), (Contents(7, [4, -Refusal.NOT_FOUND, 4]), b"tinytiny")]
    assert bench.uploads.uploaded == 8


def test_what_grows_is_served_piece_by_piece(bench: Bench) -> None:
    bench.catalogue.remove(ID, 1)
    growing = Growing(MANIFEST, os.open(bench.path, os.O_RDONLY), 0b001)
    assert bench.catalogue.grow(growing)
    conn = bench.conn()
    bench.ask(conn, Interest(1, ID))
    bench.ask(conn, GetBlock(2, ID, 0, 5, 10))
    bench.ask(conn, GetBlock(3, ID, 1, 5, 10))
    bench.ask(conn, GetManifest(4, ID, 0))
    assert conn.sent == [
        (Available(1, False), b"\x80"),
        (Block(2), DATA[5:15]),
        (Refused(3, Refusal.BUSY, 1), b""),
        (ManifestPart(4, len(MANIFEST.encode())), MANIFEST.encode()),
    ]
    growing.add(1)
    bench.uploads.interests.gained(ID, 0b010)
    bench.reactor.advance(1.0)
    bench.ask(conn, GetBlock(5, ID, 1, 5, 10))
    assert conn.sent[4:] == [(Have(ID, [1]), b""), (Block(5), DATA[MIB + 5 : MIB + 15])]
    # The finished file takes over: the same session goes on.
    growing.add(2)
    bench.serve()
    bench.catalogue.ungrow(growing)
    growing.close()
    bench.ask(conn, GetBlock(6, ID, 2, 0, 9))
    bench.ask(conn, Interest(7, ID))
    assert conn.sent[6:] == [(Block(6), DATA[2 * MIB :]), (Available(7, True), b"")]
    assert bench.uploads.uploaded == 29


def test_what_grew_and_was_given_up_is_refused(bench: Bench) -> None:
    bench.catalogue.remove(ID, 1)
    growing = Growing(MANIFEST, os.open(bench.path, os.O_RDONLY), 0b001)
    bench.catalogue.grow(growing)
    conn = bench.conn()
    growing.close()
    bench.ask(conn, GetBlock(1, ID, 0, 0, 10))
    bench.catalogue.ungrow(growing)
    bench.ask(conn, GetBlock(2, ID, 0, 0, 10))
    assert conn.sent == [(Refused(1, Refusal.BUSY, 1), b""), (Refused(2, Refusal.NOT_FOUND), b"")]
    bench.catalogue.grow(growing)
    bench.ask(conn, GetBlock(3, ID, 2, 0, 10))
    assert conn.closed
