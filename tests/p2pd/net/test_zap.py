"""p2pd.net.zap: it asks, it answers, it survives, it stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from p2pd.net import options
from p2pd.net.admission import Admission, AdmissionLimits, Verdict
from p2pd.net.zap import ENDPOINT, ZapHandler

WAIT_MS = 5000
CONTEXT = zmq.Context[zmq.Socket[bytes]]()  # for handlers that are never started


class Gate:
    """A door that notes who came and answers what it is told to."""

    def __init__(self, verdict: Verdict | None = None) -> None:
        self.asked: list[tuple[str, float]] = []
        self.verdict = verdict

    def allow_connection(self, address: str, now: float) -> Verdict:
        self.asked.append((address, now))
        if self.verdict is None:
            raise RuntimeError("broken")
        return self.verdict


class Sockets:
    """A context that keeps its sockets until the test is over."""

    def __init__(self) -> None:
        self.context = zmq.Context[zmq.Socket[bytes]]()
        self.made: list[zmq.Socket[bytes]] = []

    def socket(self, kind: zmq.SocketType) -> zmq.Socket[bytes]:
        self.made.append(self.context.socket(kind))
        return self.made[-1]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets()
    yield made
    made.context.destroy(linger=0)


def listen(sockets: Sockets, domain: str) -> tuple[zmq.Socket[bytes], str]:
    router = sockets.socket(zmq.SocketType.ROUTER)
    options.apply(router, options.Kind.LISTENER, domain)
    return router, f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}"


def dial(sockets: Sockets, endpoint: str) -> tuple[zmq.Socket[bytes], zmq.Event]:
    """A dialler and how its handshake ended."""
    dealer = sockets.socket(zmq.SocketType.DEALER)
    options.apply(dealer, options.Kind.DIALER)
    events = (
        zmq.Event.HANDSHAKE_SUCCEEDED
        | zmq.Event.HANDSHAKE_FAILED_AUTH
        | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
        | zmq.Event.DISCONNECTED
    )
    monitor = dealer.get_monitor_socket(events)
    dealer.connect(endpoint)
    assert monitor.poll(WAIT_MS)
    event = zmq.Event(int.from_bytes(monitor.recv_multipart()[0][:2], "little"))
    dealer.disable_monitor()
    monitor.close()
    return dealer, event


def test_each_listener_has_its_own_door(sockets: Sockets) -> None:
    yes, no = Gate(Verdict()), Gate(Verdict(False, "full"))
    handler = ZapHandler(sockets.context, {"peer": yes, "tracker": no}, clock=lambda: 42.0)
    handler.start()
    router, endpoint = listen(sockets, "peer")
    dealer, event = dial(sockets, endpoint)
    assert event == zmq.Event.HANDSHAKE_SUCCEEDED
    dealer.send(b"hello")
    assert router.poll(WAIT_MS)
    assert yes.asked == [("127.0.0.1", 42.0)]
    refused, endpoint = listen(sockets, "tracker")
    _, event = dial(sockets, endpoint)
    assert event != zmq.Event.HANDSHAKE_SUCCEEDED
    assert len(no.asked) == 1
    assert not refused.poll(0)
    handler.stop()


def test_a_broken_door_and_an_unknown_domain_let_nobody_in_and_the_next_is_served(
    sockets: Sockets,
) -> None:
    broken, good = Gate(None), Gate(Verdict())
    handler = ZapHandler(sockets.context, {"broken": broken})
    handler.start()
    handler.add("peer", good)
    for domain in ("broken", "nobody"):
        _, endpoint = listen(sockets, domain)
        assert dial(sockets, endpoint)[1] != zmq.Event.HANDSHAKE_SUCCEEDED
    assert len(broken.asked) == 1
    _, endpoint = listen(sockets, "peer")
    assert dial(sockets, endpoint)[1] == zmq.Event.HANDSHAKE_SUCCEEDED
    handler.stop()


def test_it_survives_requests_that_make_no_sense(sockets: Sockets) -> None:
    handler = ZapHandler(sockets.context, {"peer": Gate(Verdict())})
    handler.start()
    rogue = sockets.socket(zmq.SocketType.DEALER)
    rogue.linger = 0
    rogue.connect(ENDPOINT)
    for frames in ([b"x"], [b""], [b"", b"1.0"], [b"", b"9.9", b"id", b"peer", b"", b"", b"NULL"]):
        rogue.send_multipart(frames)
    rogue.send_multipart([b"", b"1.0", b"last", b"peer", b"10.0.0.1", b"", b"NULL"])
    replies: list[list[bytes]] = []
    while not replies or replies[-1][2] != b"last":
        assert rogue.poll(WAIT_MS)
        replies.append(rogue.recv_multipart())
    assert [reply[3] for reply in replies] == [b"500", b"500", b"500", b"200"]
    handler.stop()


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_reply_never_raises_and_never_lets_garbage_in(frames: list[bytes]) -> None:
    handler = ZapHandler(CONTEXT, {"peer": Gate(Verdict(False, "no"))})
    reply = handler.reply(frames)
    assert reply is None or reply[-4] in (b"400", b"500")


def test_a_second_handler_of_the_context_is_refused(sockets: Sockets) -> None:
    first, second = ZapHandler(sockets.context), ZapHandler(sockets.context)
    first.start()
    with pytest.raises(zmq.ZMQError):
        second.start()
    first.stop()
    second.start()
    second.stop()


def test_stop_ends_the_thread_and_may_be_called_twice(sockets: Sockets) -> None:
    handler = ZapHandler(sockets.context)
    handler.stop()
    handler.start()
    assert any(thread.name == "zap" for thread in threading.enumerate())
    handler.stop()
    handler.stop()
    assert not any(thread.name == "zap" for thread in threading.enumerate())


def test_after_stop_nothing_holds_the_context_open() -> None:
    context = zmq.Context[zmq.Socket[bytes]]()
    handler = ZapHandler(context)
    handler.start()
    handler.stop()
    ended = threading.Thread(target=context.term)
    ended.start()
    ended.join(5)
    assert not ended.is_alive()


def test_admission_is_a_door(sockets: Sockets) -> None:
    admission = Admission(AdmissionLimits(accept_burst_per_address=2, accepts_per_second_per_address=0.001))
    handler = ZapHandler(sockets.context, {"peer": admission})
    handler.start()
    _, endpoint = listen(sockets, "peer")
    events = [dial(sockets, endpoint)[1] for _ in range(3)]
    succeeded = zmq.Event.HANDSHAKE_SUCCEEDED
    assert [event == succeeded for event in events] == [True, True, False]
    handler.stop()
