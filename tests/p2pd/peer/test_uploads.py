"""p2pd/peer/uploads.py: one answer for each request, in turns. Files that change are in test_uploads_changes.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.peer.catalogue import Served
from p2pd.peer.growing import Growing
from p2pd.storage.hashing import stamp_from
from protocol import limits
from protocol.codec import encode
from protocol.errors import Refusal, RemoteProtocolError
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
from tests.fakes.swarm import manifest_of
from tests.fakes.uploading import DATA, ID, MANIFEST, Bench


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
