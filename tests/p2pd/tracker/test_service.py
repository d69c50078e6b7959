"""The tracker's policy, over the SQLite registry: every request gets one answer, whatever is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker.quota import Kind
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.service import TrackerService
from protocol.codec import encode
from protocol.errors import Refusal
from protocol.limits import (
    ANNOUNCE_LIFETIME,
    ANNOUNCE_REFRESH,
    FORGET_SECONDS,
    MAX_ANSWER,
    MAX_FILE,
    MAX_HEADER,
)
from protocol.tracker import (
    NO_EPOCH,
    Announce,
    Announced,
    AnyReply,
    AnyRequest,
    By,
    Bye,
    Entry,
    Find,
    Gone,
    Hits,
    Ok,
    Peers,
    Publish,
    Published,
    Refused,
    Search,
    SearchTerms,
    Sort,
    Sources,
    Stats,
    TrackerStats,
    decode_reply,
    decode_request,
    publishes,
)
from tests.fakes.tracker_asker import EPOCH, PUBLIC, announce, entry, join, listing, who


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


def refused(reply: AnyReply) -> int:
    assert isinstance(reply, Refused), reply
    assert reply.req == 9
    return reply.code


# -- presence ---------------------------------------------------------------------------------------------------


def test_an_announce_is_told_the_lease_and_what_is_known(service: TrackerService) -> None:
    reply = service.handle(announce(), who(1), 0.0)
    assert isinstance(reply, Announced)
    assert (reply.req, reply.lease_s, reply.observed) == (9, ANNOUNCE_LIFETIME, "10.0.0.2")
    assert (reply.known_epoch, reply.known_revision, reply.peers, reply.files) == (NO_EPOCH, 0, 1, 0)
    service.handle(listing(entry(1), entry(2)), who(1), 0.0)
    reply = service.handle(announce(), who(1), 0.0)
    assert isinstance(reply, Announced)
    assert (reply.known_epoch, reply.known_revision, reply.peers, reply.files) == (EPOCH, 1, 1, 2)


def test_refreshes_are_spread_and_well_before_the_end(service: TrackerService) -> None:
    refreshes = set()
    for number in range(100):
        reply = service.handle(announce(), who(number), 0.0)
        assert isinstance(reply, Announced)
        refreshes.add(reply.refresh_s)
        assert 0.8 * ANNOUNCE_REFRESH - 1 <= reply.refresh_s <= 1.2 * ANNOUNCE_REFRESH < ANNOUNCE_LIFETIME / 2
    assert len(refreshes) > 30


def test_a_device_vanishes_with_its_lease_and_is_forgotten_later(service: TrackerService) -> None:
    join(service, who(1), entry(1))
    end = ANNOUNCE_LIFETIME
    assert isinstance(reply := service.handle(Search(9, By.TEXT, "alpha"), who(2), end - 1), Hits)
    assert len(reply.items) == 1
    assert service.handle(Search(9, By.TEXT, "alpha"), who(2), end) == Hits(9, [], "")
    assert service.expire(end + FORGET_SECONDS) == 0
    assert service.expire(end + FORGET_SECONDS + 1) > 0
    assert service.expire(end + FORGET_SECONDS + 1) == 0


def test_questions_do_not_renew_the_lease(service: TrackerService) -> None:
    join(service, who(1), entry(1))
    for request in (Search(9, By.ALL), Find(9, bytes(32)), Peers(9), Stats(9)):
        service.handle(request, who(1), ANNOUNCE_LIFETIME - 1)
    assert service.stats(ANNOUNCE_LIFETIME)["devices"] == 0


def test_bye_is_at_once(service: TrackerService) -> None:
    join(service, who(1), entry(1))
    assert service.handle(Bye(9), who(1), 1.0) == Ok(9)
    assert service.handle(Find(9, b"\x01" * 32), who(2), 1.0) == Sources(9, [])
    assert service.handle(Bye(9), who(77), 1.0) == Ok(9)


def test_a_restart_keeps_everybody_for_one_lease(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    first = SqliteRegistry(path)
    service = TrackerService(first, PUBLIC, Random(1))
    service.start(5000.0)
    service.handle(announce(), who(1), 5000.0)
    service.handle(listing(entry(1)), who(1), 5000.0)
    first.close()
    second = SqliteRegistry(path)
    service = TrackerService(second, PUBLIC, Random(1))
    service.start(3.0)
    assert service.stats(ANNOUNCE_LIFETIME) == {
        "devices": 1,
        "files": 1,
        "announces": 0,
        "publishes": 0,
        "searches": 0,
        "refusals": 0,
    }
    assert service.stats(ANNOUNCE_LIFETIME + 3.0)["devices"] == 0
    second.close()


def test_an_early_announce_is_possible_a_flood_is_not(service: TrackerService) -> None:
    replies = [service.handle(announce(), who(1), 0.0) for _ in range(7)]
    assert [type(reply) for reply in replies] == [Announced] * 5 + [Refused] * 2
    reply = replies[-1]
    assert isinstance(reply, Refused)
    assert (reply.code, reply.retry_s) == (Refusal.BUSY, 10)
    assert isinstance(service.handle(announce(), who(1), 10.0), Announced)


@pytest.mark.parametrize(
    "host", ["localhost", "example.org", "0.0.0.0", "224.0.0.1", "fe80::1%eth0", "1.2.3", " "]
)
def test_a_declared_host_must_be_usable(service: TrackerService, host: str) -> None:
    assert refused(service.handle(announce(host=host), who(1), 0.0)) == Refusal.BAD_REQUEST


# -- shares -----------------------------------------------------------------------------------------------------


def test_deltas_follow_and_gaps_are_out_of_step(service: TrackerService) -> None:
    join(service, who(1), entry(1))
    delta = Publish(9, EPOCH, 1, 2, False, False, [entry(2)], [Gone(b"\x01" * 32, "alpha 1")])
    assert service.handle(delta, who(1), 0.0) == Published(9, 2)
    assert service.handle(delta, who(1), 0.0) == Published(9, 2)
    gap = Publish(9, EPOCH, 5, 6, False, False, [entry(3)], [])
    assert refused(service.handle(gap, who(1), 0.0)) == Refusal.RESYNC
    assert refused(service.handle(gap, who(2), 0.0)) == Refusal.RESYNC
    reply = service.handle(Search(9, By.TEXT, "alpha"), who(2), 0.0)
    assert isinstance(reply, Hits)
    assert [hit.size for hit in reply.items] == [2]


@pytest.mark.parametrize(
    "message",
    [
        Publish(9, EPOCH, 0, 1, True, False, [], [Gone(bytes(32), "a")]),
        Publish(9, EPOCH, 0, 1, False, True, [], []),
        Publish(9, EPOCH, 0, 0, True, True, [], []),
        Publish(9, EPOCH, 4, 4, True, True, [], []),
    ],
)
def test_publishes_that_make_no_sense(service: TrackerService, message: Publish) -> None:
    service.handle(announce(), who(1), 0.0)
    assert refused(service.handle(message, who(1), 0.0)) == Refusal.BAD_REQUEST


def test_messages_made_by_publishes_bring_any_share_over(service: TrackerService) -> None:
    service.handle(announce(), who(1), 0.0)
    long = [Entry(bytes([n]) * 32, bytes(32), n, "/".join(["é" * 120] * 4) + f"/{n}", n) for n in range(20)]
    history: list[tuple[int, Entry | Gone]] = [(n + 1, item) for n, item in enumerate(long)]
    for message in publishes(EPOCH, 0, 20, history, reset=True):
        assert isinstance(service.handle(message, who(1), 0.0), Published)
    later: list[tuple[int, Entry | Gone]] = [(21, Gone(long[3].content_id, long[3].name)), (22, entry(99))]
    for message in publishes(EPOCH, 20, 22, later):
        assert isinstance(service.handle(message, who(1), 0.0), Published)
    assert service.stats(0.0)["files"] == 20
    assert isinstance(reply := service.handle(announce(), who(1), 0.0), Announced)
    assert (reply.known_epoch, reply.known_revision) == (EPOCH, 22)


def test_the_bound_of_a_device_does_not_ask_to_wait(service: TrackerService) -> None:
    service.handle(announce(), who(1), 0.0)
    reply = service.handle(listing(*(entry(n) for n in range(21))), who(1), 0.0)
    assert isinstance(reply, Refused)
    assert (reply.code, reply.retry_s) == (Refusal.LIMIT, 0)


def test_a_full_registry_forgets_the_absent_early(service: TrackerService) -> None:
    for number in range(5):
        join(service, who(number), *(entry(20 * number + n) for n in range(20)))
    service.handle(announce(), who(6), 0.0)
    service.handle(Bye(9), who(0), 1.0)
    reply = service.handle(listing(entry(200)), who(6), 2.0)
    assert isinstance(reply, Refused)
    assert reply.code == Refusal.LIMIT
    assert reply.retry_s > 0
    while service.expire(3.0):
        pass
    assert isinstance(service.handle(listing(entry(200)), who(6), 4.0), Published)
    service.handle(Bye(9), who(1), 5.0)
    assert service.expire(6.0) == 0  # there is room again: the absent are kept for a while


def test_devices_are_bounded(service: TrackerService) -> None:
    for number in range(300):
        assert isinstance(service.handle(announce(), who(number), 0.0), Announced)
    assert refused(service.handle(announce(), who(300), 0.0)) == Refusal.LIMIT
    assert isinstance(service.handle(announce(), who(299), 0.0), Announced)


# -- searching --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "message"), [(Kind.SEARCH, Search(9, By.TEXT, "x")), (Kind.LIST, SearchTerms(9, By.ALL))]
)
def test_searches_are_limited_for_each_device(service: TrackerService, kind: Kind, message: Search) -> None:
    _, burst = kind.value
    replies = [service.handle(message, who(1), 0.0) for _ in range(int(burst) + 1)]
    assert refused(replies.pop()) == Refusal.BUSY
    assert {type(reply) for reply in replies} == {Hits}
    assert isinstance(service.handle(message, who(2), 0.0), Hits)
    assert isinstance(service.handle(message, who(1), 1.0), Hits)


@pytest.mark.parametrize(
    "message",
    [
        Search(9, By.TEXT),
        Search(9, By.TEXT, "a", cursor="x"),
        Search(9, By.TEXT, "a", cursor="é"),
        Search(9, By.TEXT, "a\0b"),
        Search(9, By.ID, "xyz"),
        Search(9, By.SHA256, ""),
        Peers(9, cursor="zz"),
        Peers(9, cursor="é"),
        Peers(9, cursor="00" * 19),
    ],
)
def test_bad_requests(service: TrackerService, message: AnyRequest) -> None:
    assert refused(service.handle(message, who(1), 0.0)) == Refusal.BAD_REQUEST


def test_pages_are_cut_to_what_a_header_holds(service: TrackerService) -> None:
    """Nothing is lost at the cut, by any kind of search."""
    name = "/".join(["alpha" + "é" * 100] * 4)
    for sender in range(5):
        join(service, who(sender), *(entry(20 * sender + n, f"{name}/{n % 7} {sender}") for n in range(20)))
    for message in (Search(9, By.TEXT, "alpha", sort=Sort.SIZE), Search(9, By.ALL)):
        sizes: list[int] = []
        cursor, pages = "", 0
        while pages == 0 or cursor:
            request = Search(9, message.by, message.text, sort=message.sort, cursor=cursor)
            reply = service.handle(request, who(50), float(pages))
            assert isinstance(reply, Hits)
            assert len(encode(reply)) <= MAX_ANSWER + 2048 <= MAX_HEADER
            assert decode_reply(encode(reply)) == reply
            sizes += [hit.size for hit in reply.items]
            cursor, pages = reply.next, pages + 1
        assert pages > 1
        assert sorted(sizes) == list(range(100))


def test_stats(service: TrackerService) -> None:
    join(service, who(1), entry(1), entry(2))
    service.handle(Search(9, By.ALL), who(1), 0.0)
    service.handle(Search(9, By.TEXT), who(1), 0.0)
    assert service.handle(Stats(9), who(1), 0.0) == TrackerStats(9, 1, 2, 1, 1, 1, 1)


# -- nothing leaks ----------------------------------------------------------------------------------------------


def test_a_failing_store_is_a_refusal(service: TrackerService, registry: SqliteRegistry) -> None:
    registry.close()
    for message in (
        announce(),
        listing(entry(1)),
        Search(9, By.ALL),
        Find(9, bytes(32)),
        Peers(9),
        Bye(9),
        Stats(9),
    ):
        assert refused(service.handle(message, who(1), 0.0)) == Refusal.STORAGE


TEXT = st.text(max_size=20) | st.sampled_from(
    ["alpha", '"', "a*", "NEAR(", "%", "_", "'", "\0", "00" * 4, "00" * 32]
)
NAMES = st.sampled_from(["alpha", "a", "é/ü", 'q"uote', "100%", "it's", "NEAR", "a*b"])
DIGESTS = st.sampled_from([bytes(32), b"\x01" * 32])
REVISIONS = st.integers(0, 4) | st.just(2**53 - 1)
ENTRIES = st.builds(
    Entry, DIGESTS, DIGESTS, st.sampled_from([0, MAX_FILE]), NAMES, st.sampled_from([0, 2**40])
)
MESSAGES: st.SearchStrategy[AnyRequest] = st.one_of(
    st.builds(
        Announce,
        st.just(9),
        st.just(EPOCH),
        REVISIONS,
        st.sampled_from([0, 1024, 65_535]),
        st.text(max_size=9),
    ),
    st.builds(
        Publish,
        st.just(9),
        st.just(EPOCH),
        REVISIONS,
        REVISIONS,
        st.booleans(),
        st.booleans(),
        st.lists(ENTRIES, max_size=4),
        st.lists(st.builds(Gone, DIGESTS, NAMES), max_size=3),
    ),
    st.builds(
        Search,
        st.just(9),
        st.sampled_from(By),
        TEXT,
        st.text(max_size=4),
        st.sampled_from([0, MAX_FILE]),
        st.sampled_from([0, MAX_FILE]),
        st.sampled_from(Sort),
        st.sampled_from([1, 200]),
        st.text(max_size=8) | st.just(""),
    ),
    st.builds(
        SearchTerms,
        st.just(9),
        st.just(By.TEXT),
        TEXT,
        phrases=st.lists(st.text(min_size=1, max_size=4), max_size=2),
        without=st.lists(st.text(min_size=1, max_size=4), max_size=2),
        without_phrases=st.lists(st.text(min_size=1, max_size=4), max_size=2),
    ),
    st.builds(Find, st.just(9), DIGESTS),
    st.builds(Peers, st.just(9), DIGESTS | st.just(b""), st.sampled_from(["", "00" * 20, "x"])),
    st.just(Bye(9)),
    st.just(Stats(9)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(MESSAGES, st.integers(0, 2), st.sampled_from([0.0, 1.0, 500.0])), max_size=25))
def test_whatever_is_asked_is_answered_once(asked: list[tuple[AnyRequest, int, float]]) -> None:
    registry = SqliteRegistry(MEMORY, max_devices=2, max_files=6, max_files_per_device=3)
    service = TrackerService(registry, "", Random(1))
    service.start(0.0)
    now = 0.0
    try:
        for message, number, later in asked:
            now += later
            reply = service.handle(decode_request(encode(message)), who(number), now)
            assert decode_reply(encode(reply)).req == 9
            if isinstance(reply, Refused):
                assert reply.code != Refusal.STORAGE, message
            service.expire(now)
    finally:
        registry.close()
