"""p2pd/tracker/service.py: the questions by which a device looks after itself, and whom a tracker may be made to dial."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker.reach import Probe
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.service import Sender, TrackerService
from protocol.checks import Clock, ClockIs, Reach, Reachable, Reached
from protocol.errors import Refusal
from protocol.limits import ANNOUNCE_LIFETIME, REACH_BURST, REACH_BURST_IN_ALL
from protocol.tracker import Bye, Refused
from tests.fakes.tracker_asker import PUBLIC, announce, who


@pytest.fixture
def registry() -> Iterator[SqliteRegistry]:
    registry = SqliteRegistry(MEMORY)
    yield registry
    registry.close()


@pytest.fixture
def service(registry: SqliteRegistry) -> TrackerService:
    service = TrackerService(registry, PUBLIC, Random(1))
    service.start(0.0)
    return service


def test_the_time_and_the_keys(service: TrackerService, registry: SqliteRegistry) -> None:
    reply = service.handle(Clock(9), who(1), 1000.25)
    assert reply == ClockIs(9, 1_000_250, 0, 0)
    rotating = TrackerService(registry, PUBLIC, Random(1), keys=lambda: (3, 77))
    assert rotating.handle(Clock(9), who(1), 5.0) == ClockIs(9, 5000, 3, 77)


def probe(service: TrackerService, sender: Sender, now: float = 0.0) -> object:
    return service.handle(Reach(9), sender, now)


def test_a_device_is_dialled_where_it_was_seen_and_nowhere_else(service: TrackerService) -> None:
    sender = Sender(bytes(20), "203.0.113.5")
    assert probe(service, sender) == Refused(9, Refusal.RESYNC, 0, "no lease")
    # what it declares is ignored: nobody can have another dialled
    service.handle(announce(port=8001, host="198.51.100.9"), sender, 0.0)
    assert probe(service, sender) == Probe(9, bytes(20), "203.0.113.5", 8001)


def test_on_the_host_of_the_tracker(service: TrackerService) -> None:
    here = Sender(bytes(20), "127.0.0.1")
    service.handle(announce(port=8001), here, 0.0)
    assert probe(service, here) == Probe(9, bytes(20), "127.0.0.1", 8001)
    service.handle(announce(port=8001, host="198.51.100.9"), here, 10.0)
    assert probe(service, here, 10.0) == Probe(9, bytes(20), "198.51.100.9", 8001)


def test_who_does_not_listen_is_nowhere(service: TrackerService) -> None:
    sender = Sender(bytes(20), "203.0.113.5")
    service.handle(announce(port=0), sender, 0.0)
    assert probe(service, sender) == Reached(9, Reachable.NOWHERE, "", 0, 0)


def test_a_device_has_few_dials_and_all_together_not_many(service: TrackerService) -> None:
    senders = [Sender(bytes([number]) * 20, f"203.0.113.{number}") for number in range(1, 40)]
    for sender in senders:
        service.handle(announce(port=8001), sender, 0.0)
    for _ in range(REACH_BURST):
        assert isinstance(probe(service, senders[0]), Probe)
    assert probe(service, senders[0]) == Refused(9, Refusal.BUSY, 10)
    allowed = [sender for sender in senders[1:] if isinstance(probe(service, sender), Probe)]
    assert len(allowed) == REACH_BURST_IN_ALL - REACH_BURST
    assert isinstance(probe(service, senders[-1], 1.0), Probe)


def test_who_left_is_dialled_no_more(service: TrackerService) -> None:
    sender = Sender(bytes(20), "203.0.113.5")
    service.handle(announce(port=8001), sender, 0.0)
    service.handle(Bye(9), sender, 1.0)
    assert isinstance(probe(service, sender, 1.0), Refused)
    service.handle(announce(port=8001), sender, 10.0)
    assert isinstance(probe(service, sender, 10.0), Probe)
    assert isinstance(probe(service, sender, 11.0 + ANNOUNCE_LIFETIME), Refused)
