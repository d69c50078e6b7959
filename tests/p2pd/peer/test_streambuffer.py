"""p2pd/peer/streambuffer.py: pieces wait in a window of memory until they are sent."""

from __future__ import annotations

import threading

from p2pd.peer.streambuffer import PIECES_MIN, WINDOW, StreamBuffer, window_of
from protocol.limits import MIB
from protocol.manifest import Manifest
from tests.fakes.swarm import manifest_of, octets

DATA = octets(3 * MIB + 5)
MANIFEST = manifest_of(DATA)


def put(buffer: StreamBuffer, piece: int, data: bytes = DATA) -> None:
    buffer.write(piece * MIB, memoryview(data)[piece * MIB : (piece + 1) * MIB])
    buffer.ready(piece)


def test_the_window_is_bounded_in_octets_and_has_a_few_pieces() -> None:
    assert window_of(MANIFEST) * MANIFEST.piece_size == WINDOW
    large = Manifest(1 << 40, 16 * MIB, bytes(32), bytes(32 * 65_536))
    assert window_of(large) == PIECES_MIN
    assert window_of(large) * large.piece_size <= WINDOW


def test_pieces_come_out_as_they_went_in_the_last_one_short() -> None:
    buffer = StreamBuffer(MANIFEST, 0)
    for piece in (3, 1, 0, 2):
        put(buffer, piece)
    out = b""
    for piece in range(4):
        view = buffer.take(piece, 1.0)
        assert view is not None
        out += view
        buffer.release(piece)
    assert out == DATA


def test_a_piece_in_blocks_is_there_when_it_is_said_to_be_ready() -> None:
    buffer = StreamBuffer(MANIFEST, 0)
    half = MIB // 2
    buffer.write(half, memoryview(DATA)[half:MIB])
    buffer.write(0, memoryview(DATA)[:half])
    assert buffer.take(0, 0.0) is None
    buffer.ready(0)
    assert buffer.take(0, 0.0) == DATA[:MIB]


def test_what_is_outside_the_window_or_ready_is_not_touched() -> None:
    size = 200 * MIB
    manifest = Manifest(size, MIB, bytes(32), bytes(32 * 200))
    buffer = StreamBuffer(manifest, 10)
    window = window_of(manifest)
    buffer.write(12 * MIB, memoryview(b"good"))
    buffer.ready(12)
    for piece in (12, 9, 10 + window, 12 + window):
        buffer.write(piece * MIB, memoryview(b"late"))
    view = buffer.take(12, 0.0)
    assert view is not None
    assert view[:4] == b"good"


def test_a_release_moves_the_window_and_frees_its_memory_for_others() -> None:
    manifest = Manifest(200 * MIB, MIB, bytes(32), bytes(32 * 200))
    buffer = StreamBuffer(manifest, 0)
    window = window_of(manifest)
    for piece in range(150):
        buffer.write(piece * MIB, memoryview(bytes([piece])))
        buffer.ready(piece)
        view = buffer.take(piece, 0.0)
        assert view is not None
        assert view[0] == piece
        assert buffer.release(piece) == min(200, piece + 1 + window)
    assert len(buffer._slots) == window


def test_a_reader_is_woken_by_the_writer() -> None:
    buffer = StreamBuffer(MANIFEST, 0)
    thread = threading.Thread(target=put, args=(buffer, 0))
    thread.start()
    assert buffer.take(0, 20.0) == DATA[:MIB]
    thread.join()


def test_nothing_is_kept_after_the_end() -> None:
    buffer = StreamBuffer(MANIFEST, 0)
    put(buffer, 0)
    buffer.close()
    buffer.write(MIB, memoryview(b"late"))
    assert not buffer._slots
