"""p2pd/net/dealer.py: one attempt, every request answered once, and words for every way in which a link ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from p2pd.net.dealer import LinkState
from p2pd.net.router import Conn
from protocol import limits
from protocol.peer import Available, Block, GetBlock, Have, Interest
from tests.fakes.pair import make_device
from tests.fakes.reactors import HOST, Box, Liar, Net, Recorder, until

ID = bytes(32)


def answer(conn: Conn, request: object, payload: memoryview) -> None:
    """Blocks full of their number; an Interest is never answered."""
    if isinstance(request, GetBlock):
        conn.send(Block(request.req), bytes((request.piece,)) * request.length)


# -- a good link ------------------------------------------------------------------------------------------


def test_requests_are_matched_with_their_answers(net: Net) -> None:
    port = net.listen(Recorder(answer)).port
    dialled = net.dial(port, expected=make_device("uploader").device_id)
    link = dialled.ready.get()
    assert (link.ready, link.device_id, str(link.endpoint)) == (
        True,
        make_device("uploader").device_id,
        f"{HOST}:{port}",
    )
    boxes = [dialled.ask(GetBlock(0, ID, piece, 0, 1000 + piece)) for piece in range(30)]
    for piece, box in enumerate(boxes):
        reply, payload = box.get()
        assert reply == Block(piece + 1)
        assert payload == bytes((piece,)) * (1000 + piece)
        assert not box.items
    assert not link.pending
    assert not dialled.closed.items


def test_a_block_of_the_greatest_size_passes(net: Net) -> None:
    dialled = net.dial(net.listen(Recorder(answer)).port)
    dialled.ready.get()
    _, payload = dialled.ask(GetBlock(0, ID, 3, 0, limits.MAX_BLOCK)).get()
    assert payload == b"\3" * limits.MAX_BLOCK


def test_blocks_that_come_at_once_are_answers_in_their_order(net: Net) -> None:
    """Long and short ones, in one go: they are opened together."""
    dialled = net.dial(net.listen(Recorder(answer)).port)
    dialled.ready.get()
    lengths = [limits.MAX_BLOCK, 200_000, 10, limits.MAX_BLOCK, 70_000, 70_001, 1, 65_536] * 3
    boxes = [dialled.ask(GetBlock(0, ID, piece, 0, length)) for piece, length in enumerate(lengths)]
    for piece, (box, length) in enumerate(zip(boxes, lengths, strict=True)):
        reply, payload = box.get()
        assert (reply, payload) == (Block(piece + 1), bytes((piece,)) * length)
    assert dialled.link.ready


@pytest.mark.parametrize("spoilt", range(4))
def test_a_wrong_one_of_several_blocks_ends_the_link_after_those_before_it(net: Net, spoilt: int) -> None:
    asked = threading.Event()

    def script(liar: Liar) -> None:
        liar.shake_hands()
        records = []
        for number in range(4):
            liar.receive()
            record = bytearray(liar.seal(Block(number + 1), bytes((number,)) * 100_000))
            record[5000] ^= number == spoilt
            records.append(bytes(record))
        asked.set()
        for record in records:
            liar.send(record)

    liar = Liar(net, script)
    try:
        dialled = net.dial(liar.port)
        dialled.ready.get()
        boxes = [dialled.ask(GetBlock(0, ID, piece, 0, 100_000)) for piece in range(4)]
        assert asked.wait(10)
        assert dialled.closed.get().code == "lost"
        for number, box in enumerate(boxes):
            reply, payload = box.get()
            if number < spoilt:
                assert (reply, payload) == (Block(number + 1), bytes((number,)) * 100_000)
            else:
                assert (reply.code, payload) == ("lost", b"")
    finally:
        liar.close()


def test_messages_nobody_asked_for_are_pushes_even_right_behind_accept(net: Net) -> None:
    handler = Recorder()
    handler.on_opened = lambda conn: [conn.send(Have(ID, [number])) for number in range(3)]
    dialled = net.dial(net.listen(handler).port)
    assert dialled.pushes.wait(3) == [Have(ID, [0]), Have(ID, [1]), Have(ID, [2])]
    assert dialled.link.ready


def test_a_ping_is_answered_and_silence_probed(net: Net) -> None:
    handler = Recorder(answer)
    dialled = net.dial(net.listen(handler).port)
    dialled.ready.get()
    conn = handler.openings.get()
    assert conn.session is not None
    for _ in range(6):
        before = conn.session.last_received
        net.advance(limits.PING_SECONDS + 0.5)
        until(lambda before=before: conn.session is not None and conn.session.last_received > before)
    assert not dialled.closed.items
    assert not handler.closings.items


def test_keys_are_changed_after_an_hour(net: Net) -> None:
    dialled = net.dial(net.listen(Recorder(answer)).port)
    dialled.ready.get()
    first = dialled.link._session
    assert first is not None
    key = first._send.token_key
    for _ in range(75):
        net.advance(50)
        dialled.ask(GetBlock(0, ID, 0, 0, 1)).get()
    assert first._send.token_key is not key
    assert dialled.link.ready


# -- requests that get no answer --------------------------------------------------------------------------


def test_a_request_without_a_link_is_lost(net: Net) -> None:
    asked = threading.Event()

    def script(liar: Liar) -> None:
        asked.wait(10)
        liar.shake_hands()

    liar = Liar(net, script)
    try:
        dialled = net.dial(liar.port)
        lost, payload = dialled.ask(Interest(0, ID)).get()
        assert (lost.code, payload) == ("closed", b"")
        asked.set()
        dialled.ready.get()
    finally:
        liar.close()


def test_a_request_is_answered_once_though_its_answer_comes_late(net: Net) -> None:
    waiting: Box[tuple[Conn, int]] = Box()

    def keep(conn: Conn, request: object, payload: memoryview) -> None:
        if isinstance(request, Interest):
            waiting.put((conn, request.req))
        else:
            answer(conn, request, payload)

    dialled = net.dial(net.listen(Recorder(keep)).port)
    dialled.ready.get()
    box = dialled.ask(Interest(0, ID), timeout=5.0)
    conn, number = waiting.get()
    net.advance(6.5)
    lost, _ = box.get()
    assert lost.code == "timeout"
    net.on(net.listening, lambda: conn.send(Available(number, True)))
    assert dialled.ask(GetBlock(0, ID, 1, 0, 1)).get()[0] == Block(2)
    assert not box.items
    assert not dialled.link.pending
    assert dialled.link.ready


def test_closing_answers_what_is_open(net: Net) -> None:
    handler = Recorder(answer)
    dialled = net.dial(net.listen(handler).port)
    dialled.ready.get()
    boxes = [dialled.ask(Interest(0, ID)) for _ in range(3)]
    handler.requests.wait(3)
    dialled.close()
    dialled.close()
    assert [box.get()[0].code for box in boxes] == ["closed"] * 3
    assert dialled.closed.get().code == "closed"
    handler.closings.get()
    assert dialled.ask(Interest(0, ID)).get()[0].code == "closed"
    assert not dialled.closed.items


def test_a_lost_connection_answers_what_is_open(net: Net) -> None:
    handler = Recorder(answer)
    dialled = net.dial(net.listen(handler).port)
    dialled.ready.get()
    box = dialled.ask(Interest(0, ID))
    conn = handler.openings.get()
    handler.requests.get()
    net.listening.call(conn.close, "enough")
    assert box.get()[0].code == "lost"
    assert dialled.closed.get().code == "lost"
    assert dialled.link.state is LinkState.CLOSED


def test_a_listener_that_falls_silent_is_given_up(
    net: Net, lie: Callable[[Callable[[Liar], object]], Liar]
) -> None:
    dialled = net.dial(lie(Liar.shake_hands).port)
    dialled.ready.get()
    box = dialled.ask(Interest(0, ID), timeout=1000)
    net.advance(limits.DEAD_SECONDS + 1)
    assert "silent" in dialled.closed.get().text
    assert box.get()[0].code == "lost"
