"""p2pd/tracker/reach.py: a device is dialled at its address, must prove itself, and nobody is dialled for long or too often."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from p2pd.tracker.reach import Probe, Prober
from protocol.checks import Reachable, Reached
from protocol.errors import Refusal
from protocol.frames import make_refuse
from protocol.limits import MAX_REACHES, REACH_SECONDS
from tests.fakes.pair import make_device
from tests.fakes.reactors import HOST, Box, Liar, Net, Recorder, make_identity, until

PEER = make_device("uploader").device_id


class Bench:
    """A prober on the dialling reactor."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.prober = Prober(net.dialling, make_identity("tracker"))

    def start(self, port: int, device_id: bytes = PEER) -> tuple[bool, Box[Reached]]:
        box: Box[Reached] = Box()
        probe = Probe(7, device_id, HOST, port)
        return self.net.on(self.net.dialling, lambda: self.prober.start(probe, box.put)), box

    def ask(self, port: int, device_id: bytes = PEER) -> Reached:
        started, box = self.start(port, device_id)
        assert started
        reached = box.get()
        assert (reached.req, reached.host, reached.port) == (7, HOST, port)
        until(lambda: self.prober.under_way == 0)
        assert not box.items, "one answer"
        return reached


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.fixture
def bench(net: Net) -> Bench:
    return Bench(net)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_device_itself(net: Net, bench: Bench) -> None:
    handler = Recorder()
    port = net.listen(handler).port
    reached = bench.ask(port)
    assert reached.result is Reachable.YES
    assert reached.after_ms < 5000
    handler.closings.get()  # it asked for nothing, and went
    assert not handler.requests.items


def test_nobody_listens(bench: Bench) -> None:
    assert bench.ask(free_port()).result is Reachable.NOBODY


def test_another_device_there(net: Net, bench: Bench) -> None:
    port = net.listen(Recorder(), "somebody else").port
    assert bench.ask(port).result is Reachable.OTHER


def test_something_else_there(net: Net, bench: Bench) -> None:
    with Server() as server:
        started, box = bench.start(server.port)
        assert started
        net.advance(REACH_SECONDS + 1)
        assert box.get().result in (Reachable.OTHER, Reachable.NOBODY)


class Server:
    """Takes connections and says nothing."""

    def __enter__(self) -> Server:
        self.socket = socket.create_server((HOST, 0))
        self.port = self.socket.getsockname()[1]
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()


def test_a_listener_that_refuses_is_not_the_device(net: Net, bench: Bench) -> None:
    def script(liar: Liar) -> None:
        liar.receive()
        liar.send(make_refuse(Refusal.BUSY))

    liar = Liar(net, script)
    try:
        assert bench.ask(liar.port).result is Reachable.OTHER
    finally:
        liar.close()


def test_few_at_a_time_and_none_for_long(net: Net, bench: Bench) -> None:
    with Server() as server:
        begun = [bench.start(server.port) for _ in range(MAX_REACHES)]
        assert all(started for started, _ in begun)
        assert bench.start(server.port)[0] is False
        net.advance(REACH_SECONDS + 1)
        for _, box in begun:
            box.get()
        until(lambda: bench.prober.under_way == 0)
        assert bench.start(server.port)[0] is True
        net.advance(REACH_SECONDS + 1)
