"""What is dear is owed by who asked for it, and made up for by waiting."""

from __future__ import annotations

import threading
import time
from itertools import count
from random import Random

import pytest

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker.charging import FREE, Charging
from p2pd.tracker.policy import DEVICES, Policy
from p2pd.tracker.quota import Kind
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.service import TrackerService
from protocol.errors import Refusal
from protocol.tracker import Announced, By, Find, Hits, Peers, Refused, Search
from tests.fakes.tracker_asker import PUBLIC, announce, who

ONE, TWO = b"a" * 20, b"b" * 20
HOST = "10.0.0.1"
RATE, BURST = Kind.TIME.value


class Spending:
    """A charging whose clock goes on when it is told."""

    def __init__(self) -> None:
        self.used = 0.0
        self.charging = Charging(Policy(), threading.Lock(), lambda: self.used)

    def ask(
        self, device: bytes, seconds: float, kind: Kind = Kind.SEARCH, host: str = HOST, now: float = 0.0
    ) -> int:
        """A request that takes so long; what is owed afterwards."""
        with self.charging.of(device, host, kind, now):
            self.used += seconds
        return self.charging.owed(device, host, now)


@pytest.mark.parametrize("kind", list(FREE))
def test_what_has_the_usual_price_is_free(kind: Kind) -> None:
    spending = Spending()
    assert {spending.ask(ONE, FREE[kind], kind) for _ in range(1000)} == {0}


def test_pages_of_everything_are_free() -> None:
    spending = Spending()
    assert spending.ask(ONE, 100.0, Kind.LIST) == 0


def test_who_was_dear_waits_until_that_is_made_up_for_and_nobody_else_does() -> None:
    spending = Spending()
    assert spending.ask(ONE, BURST) == 0
    assert spending.ask(ONE, 1.0 + FREE[Kind.SEARCH]) == pytest.approx(
        (1.0 - FREE[Kind.SEARCH]) / RATE, abs=1
    )
    owed = spending.charging.owed(ONE, HOST, 0.0)
    assert spending.charging.owed(TWO, HOST, 0.0) == 0
    assert spending.charging.owed(ONE, HOST, owed - 1.0) == 1
    assert spending.charging.owed(ONE, HOST, float(owed)) == 0


def test_a_network_may_be_as_dear_as_some_devices() -> None:
    spending = Spending()
    devices = [bytes([number]) * 20 for number in range(1, 2 * DEVICES)]
    for device in devices[: DEVICES + 1]:
        spending.ask(device, BURST + 1.0)
    assert spending.charging.owed(devices[-1], "10.0.0.77", 0.0) > 0
    assert spending.charging.owed(devices[-1], "10.0.1.77", 0.0) == 0
    assert spending.charging.owed(devices[-1], "127.0.0.1", 0.0) == 0


def test_a_request_that_fails_has_its_price_too() -> None:
    spending = Spending()

    def fail() -> None:
        with spending.charging.of(ONE, HOST, Kind.FIND, 0.0):
            spending.used += 10.0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert spending.charging.owed(ONE, HOST, 0.0) > 0


def test_the_time_of_this_thread_is_what_counts() -> None:
    """Not that of others, nor that of a database in another process."""

    def work() -> None:
        began = time.thread_time()
        while time.thread_time() - began < 2 * FREE[Kind.SEARCH]:
            pass

    for here in (False, True):
        charging = Charging(policy := Policy(), threading.Lock())
        with charging.of(ONE, HOST, Kind.SEARCH, 0.0):
            if here:
                work()
            else:
                other = threading.Thread(target=work)
                other.start()
                other.join(20.0)
        for _ in range(2):
            policy.charge(ONE, HOST, BURST / 2, 0.0)
        assert bool(charging.owed(ONE, HOST, 0.0)) == here


def test_who_asks_for_what_is_dear_asks_slowly() -> None:
    """Whoever may have made it so: there is time for the others."""
    registry = SqliteRegistry(MEMORY)
    service = TrackerService(registry, PUBLIC, Random(1))
    service.start(0.0)
    service._charging = Charging(
        service._policy, service._lock, count().__next__
    )  # each request takes a second
    dear = [Search(9, By.TEXT, "x"), Find(9, bytes(32)), Peers(9, bytes(32))]
    for message in dear:
        assert not isinstance(service.handle(message, who(1), 0.0), Refused)
    for message in (*dear, Search(9, By.ID, "00" * 32)):
        reply = service.handle(message, who(1), 0.0)
        assert isinstance(reply, Refused)
        assert (reply.code, reply.retry_s) == (Refusal.BUSY, 10)
    assert isinstance(service.handle(Search(9, By.ALL), who(1), 0.0), Hits)
    assert isinstance(service.handle(announce(), who(1), 0.0), Announced)
    assert isinstance(service.handle(dear[0], who(2), 0.0), Hits)
    assert isinstance(service.handle(dear[0], who(1), 10.0), Hits)
    registry.close()
