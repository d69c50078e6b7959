"""p2pd/net/buffers.py: each buffer with one holder at a time."""

from __future__ import annotations

import ctypes
import threading

import zmq

from p2pd.net.buffers import PAGE, Buffers


def address(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def test_buffers_begin_at_a_page_and_have_whole_pages() -> None:
    buffers = Buffers(PAGE + 1, 1)
    taken = buffers.take()
    assert (buffers.size, len(taken)) == (2 * PAGE, 2 * PAGE)
    assert address(taken) % PAGE == 0


def test_the_buffer_used_last_is_given_out_first() -> None:
    buffers = Buffers(PAGE, 2)
    first, second = buffers.take(), buffers.take()
    assert address(first) != address(second)
    buffers.give(first)
    buffers.give(second)
    assert buffers.take() is second
    assert buffers.take() is first


def test_no_more_spare_ones_are_kept_than_wanted() -> None:
    buffers = Buffers(PAGE, 1)
    first, second = buffers.take(), buffers.take()
    buffers.give(first)
    buffers.give(second)
    assert buffers.take() is first
    assert buffers.take() is not second


def test_a_lent_buffer_comes_back_when_its_view_is_gone() -> None:
    buffers = Buffers(PAGE, 1)
    taken = buffers.take()
    view = buffers.lend(taken, 10)
    assert (len(view), buffers.lent) == (10, 1)
    assert buffers.take() is not taken
    del view
    assert buffers.lent == 0
    assert buffers.take() is taken


def test_libzmq_holds_a_lent_buffer_until_it_has_sent_it() -> None:
    buffers = Buffers(128 * 1024, 4)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sender, receiver = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    try:
        sender.bind("inproc://buffers")
        receiver.connect("inproc://buffers")
        buffer = buffers.take()
        buffer[:] = b"x" * len(buffer)
        sender.send(buffers.lend(buffer, len(buffer)), copy=False)
        assert buffers.lent == 1
        came = receiver.recv(copy=False)
        assert bytes(came.buffer) == b"x" * len(buffer)
        given = threading.Event()
        buffers.give = lambda buffer: given.set()  # type: ignore[method-assign]
        del came
        assert given.wait(10)
        assert buffers.lent == 0
    finally:
        sender.close(linger=0)
        receiver.close(linger=0)
        context.term()
