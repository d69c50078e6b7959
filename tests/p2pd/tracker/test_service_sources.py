"""Who is handed out to whom: sources, members, and the one rule about addresses."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.service import TrackerService
from protocol.errors import Refusal
from protocol.limits import ANNOUNCE_LIFETIME, MAX_SOURCES, PUBLISH_BURST
from protocol.tracker import Bye, Fetching, Find, Member, Ok, PeerList, Peers, Refused, Source, Sources
from tests.fakes.tracker_asker import PUBLIC, announce, entry, join, who


@pytest.fixture
def registry() -> Iterator[SqliteRegistry]:
    registry = SqliteRegistry(MEMORY, max_devices=300, max_files=100, max_files_per_device=20)
    yield registry
    registry.close()


@pytest.fixture
def service(registry: SqliteRegistry) -> TrackerService:
    service = TrackerService(registry, PUBLIC, Random(1))
    service.start(0.0)
    return service


LOCAL = "127.0.0.1"


@pytest.mark.parametrize(
    ("observed", "declared", "asker", "expected"),
    [
        ("10.0.0.7", "", "10.0.0.9", "10.0.0.7"),
        ("10.0.0.7", "198.18.0.1", "10.0.0.9", "10.0.0.7"),  # what it claims is ignored
        ("10.0.0.7", "", LOCAL, "10.0.0.7"),
        ("fd00::7", "", "10.0.0.9", "fd00::7"),
        (LOCAL, "10.1.1.1", "10.0.0.9", "10.1.1.1"),
        (LOCAL, "10.1.1.1", LOCAL, "10.1.1.1"),
        (LOCAL, "", LOCAL, LOCAL),
        ("::1", "", LOCAL, LOCAL),
        (LOCAL, "127.0.0.5", LOCAL, LOCAL),
        (LOCAL, "", "10.0.0.9", PUBLIC),
        (LOCAL, "127.0.0.5", "10.0.0.9", PUBLIC),
        ("::ffff:127.0.0.1", "", "10.0.0.9", PUBLIC),
        ("169.254.169.254", "", "10.0.0.9", None),
        ("fe80::1", "", "10.0.0.9", None),
        ("0.0.0.0", "", "10.0.0.9", None),
        ("", "", "10.0.0.9", None),
    ],
)
def test_the_address_of_a_source(
    service: TrackerService, observed: str, declared: str, asker: str, expected: str | None
) -> None:
    join(service, who(1, observed or " "), entry(1), host=declared)
    reply = service.handle(Find(9, b"\x01" * 32), who(2, asker), 0.0)
    assert reply == Sources(9, [Source(who(1).device_id, expected, 8001)] if expected else [])
    reply = service.handle(Peers(9, b"\x01" * 32), who(2, asker), 0.0)
    member = Member(who(1).device_id, expected or "", 8001 if expected else 0, 1)
    assert reply == PeerList(9, [member], "")


@pytest.mark.parametrize("advertised", ["", "127.0.0.1", "::1", "tracker.example", "0.0.0.0"])
def test_without_an_address_of_its_own_a_tracker_hands_out_no_neighbours(
    registry: SqliteRegistry, advertised: str
) -> None:
    service = TrackerService(registry, advertised, Random(1))
    service.start(0.0)
    join(service, who(1, LOCAL), entry(1))
    assert service.handle(Find(9, b"\x01" * 32), who(2), 0.0) == Sources(9, [])
    assert isinstance(reply := service.handle(Find(9, b"\x01" * 32), who(2, LOCAL), 0.0), Sources)
    assert [source.host for source in reply.items] == [LOCAL]


def test_the_asker_is_no_source_of_its_own(service: TrackerService) -> None:
    for number in (1, 2, 3):
        join(service, who(number), entry(1))
    reply = service.handle(Find(9, b"\x01" * 32), who(2), 0.0)
    assert isinstance(reply, Sources)
    assert {source.device_id for source in reply.items} == {who(1).device_id, who(3).device_id}


def test_sources_are_bounded_and_drawn(service: TrackerService) -> None:
    for number in range(1, 61):
        join(service, who(number), entry(1))
    seen: set[bytes] = set()
    for _ in range(20):
        reply = service.handle(Find(9, b"\x01" * 32), who(99), 0.0)
        assert isinstance(reply, Sources)
        assert len({source.device_id for source in reply.items}) == MAX_SOURCES
        seen |= {source.device_id for source in reply.items}
    assert len(seen) == 60


def test_who_does_not_listen_is_a_member_but_no_source(service: TrackerService) -> None:
    join(service, who(1), entry(1), port=0)
    assert service.handle(Find(9, b"\x01" * 32), who(2), 0.0) == Sources(9, [])
    assert service.handle(Peers(9), who(2), 0.0) == PeerList(9, [Member(who(1).device_id, "", 0, 1)], "")


def test_members_come_in_pages(service: TrackerService) -> None:
    for number in range(120):
        service.handle(announce(), who(number), 0.0)
    found: list[bytes] = []
    cursor = ""
    for page in range(3):
        reply = service.handle(Peers(9, cursor=cursor), who(1), 0.0)
        assert isinstance(reply, PeerList)
        assert len(reply.items) <= MAX_SOURCES
        found += [member.device_id for member in reply.items]
        cursor = reply.next
        assert bool(cursor) == (page < 2)
    assert found == [who(number).device_id for number in range(120)]


# -- parts ------------------------------------------------------------------------------------------------

CONTENT = b"\x01" * 32


def sources(service: TrackerService, asker: int = 9, now: float = 0.0) -> list[bytes]:
    reply = service.handle(Find(1, CONTENT), who(asker), now)
    assert isinstance(reply, Sources)
    return [source.device_id for source in reply.items]


def test_who_fetches_is_a_source_after_those_who_have_it(service: TrackerService) -> None:
    join(service, who(1), entry(1))
    for number in (2, 3):
        service.handle(announce(port=8000 + number), who(number), 0.0)
        assert service.handle(Fetching(5, [CONTENT]), who(number), 0.0) == Ok(5)
    found = sources(service)
    assert found[0] == who(1).device_id
    assert set(found[1:]) == {who(2).device_id, who(3).device_id}
    assert who(2).device_id not in sources(service, asker=2)
    service.handle(Fetching(6, []), who(2), 0.0)
    service.handle(Bye(7), who(3), 0.0)
    assert sources(service) == [who(1).device_id]


def test_who_has_it_and_fetches_it_is_one_source(service: TrackerService) -> None:
    join(service, who(1), entry(1))
    service.handle(Fetching(5, [CONTENT]), who(1), 0.0)
    assert sources(service) == [who(1).device_id]


def test_who_has_no_lease_is_told_to_announce(service: TrackerService) -> None:
    reply = service.handle(Fetching(5, [CONTENT]), who(1), 0.0)
    assert isinstance(reply, Refused)
    assert reply.code == Refusal.RESYNC


def test_a_part_is_named_as_long_as_the_lease_lasts(service: TrackerService) -> None:
    service.handle(announce(), who(1), 0.0)
    service.handle(Fetching(5, [CONTENT]), who(1), 0.0)
    assert sources(service, now=ANNOUNCE_LIFETIME - 1)
    assert not sources(service, now=ANNOUNCE_LIFETIME + 1)
    service.expire(ANNOUNCE_LIFETIME + 1)
    service.handle(announce(), who(1), ANNOUNCE_LIFETIME + 2)
    assert not sources(service, now=ANNOUNCE_LIFETIME + 2)


def test_telling_too_often_is_refused(service: TrackerService) -> None:
    service.handle(announce(), who(1), 0.0)
    replies = [service.handle(Fetching(5, [CONTENT]), who(1), 0.0) for _ in range(PUBLISH_BURST + 1)]
    assert isinstance(replies[-1], Refused)
    assert replies[-1].code == Refusal.BUSY
