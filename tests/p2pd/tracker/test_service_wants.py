"""Wants at the tracker's service: looked up when they come, told when something is published, refused beyond the bounds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from random import Random

import pytest

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.service import Sender, TrackerService
from p2pd.tracker.wants import LOOK_AGAIN_SECONDS
from protocol.errors import Refusal
from protocol.limits import ANNOUNCE_LIFETIME, WANT_BURST
from protocol.tracker import AnyReply, By, Refused
from protocol.wanting import Want, Wanted, Wish
from tests.fakes.tracker_asker import PUBLIC, announce, entry, join, listing, who


@pytest.fixture
def service() -> Iterator[TrackerService]:
    registry = SqliteRegistry(MEMORY)
    service = TrackerService(registry, PUBLIC, Random(1))
    service.start(0.0)
    yield service
    registry.close()


@cache
def asker(number: int) -> Sender:
    return Sender(who(number).device_id, who(number).host, f"session {number}")


def want(service: TrackerService, number: int, *texts: str, by: By = By.TEXT) -> AnyReply | None:
    return service.handle(Want(9, [Wish(int(by), text) for text in texts]), asker(number), 0.0)


def test_what_is_there_is_told_soon_and_what_comes_at_once(service: TrackerService) -> None:
    join(service, who(1), entry(1))
    assert want(service, 7, "beta", "alpha") is None
    assert service.wants.take() == []
    assert (service.wants.count, len(service.wants)) == (2, 1)
    service.expire(0.0)
    assert service.wants.take() == [("session 7", Wanted(9, [1]))]
    assert want(service, 7, "beta") is None
    service.expire(0.0)
    assert service.wants.take() == []
    join(service, who(2), entry(2, "beta"))
    assert service.wants.take() == [("session 7", Wanted(9, [0]))]


def test_what_only_the_asker_has_is_nothing(service: TrackerService) -> None:
    join(service, who(7), entry(1))
    assert want(service, 7, "alpha") is None
    service.expire(0.0)
    assert service.wants.take() == []


def test_a_device_that_is_back_is_noticed(service: TrackerService) -> None:
    join(service, who(1), entry(1))
    assert want(service, 7, "alpha") is None
    service.wants.take()
    gone = ANNOUNCE_LIFETIME + LOOK_AGAIN_SECONDS
    service.handle(Want(9, [Wish(0, "alpha")]), asker(7), gone)
    service.expire(gone)
    service.wants.take()
    service.handle(Want(8, [Wish(0, "alpha")]), asker(7), gone)
    service.expire(gone)
    service.wants.take()
    assert not isinstance(service.handle(announce(), who(1), gone), Refused)
    service.expire(gone)
    assert service.wants.take() == [("session 7", Wanted(8, [0]))]


def test_a_session_that_ended_is_forgotten(service: TrackerService) -> None:
    assert want(service, 7, "alpha") is None
    service.wants.gone(asker(7).session)
    assert (service.wants.count, len(service.wants)) == (0, 0)
    join(service, who(1), entry(1))
    service.handle(listing(entry(1)), who(1), 0.0)
    assert service.wants.take() == []


def test_bad_and_too_many(service: TrackerService) -> None:
    for text, by in (("", By.TEXT), ("xyz", By.ID), ("\u202e", By.TEXT)):
        reply = want(service, 7, "alpha", text, by=by)
        assert isinstance(reply, Refused)
        assert reply.code == Refusal.BAD_REQUEST
    replies = [want(service, 8, "alpha") for _ in range(WANT_BURST + 1)]
    assert replies[-2] is None
    assert isinstance(replies[-1], Refused)
    assert replies[-1].code == Refusal.BUSY
    assert (service.wants.count, len(service.wants)) == (1, 1)


def test_what_another_tracker_was_told_is_found_soon() -> None:
    """Of one registry: a stand-in for a database, to which two services speak."""
    registry = SqliteRegistry(MEMORY)
    here, there = (TrackerService(registry, PUBLIC, Random(number)) for number in (1, 2))
    for service in (here, there):
        service.wants.shared = True
        service.start(0.0)
    assert want(here, 7, "alpha") is None
    here.expire(0.0)
    join(there, who(1), entry(1))
    assert here.wants.take() == []
    here.expire(LOOK_AGAIN_SECONDS)
    assert here.wants.take() == [("session 7", Wanted(9, [0]))]
    registry.close()
