"""p2pd/tracker/operating.py: what an operator sees and does, over a real registry."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from p2pd.net.admission import Admission
from p2pd.net.bans import FOR_EVER, Ban
from p2pd.tracker import service as service_module
from p2pd.tracker.operating import Operator
from p2pd.tracker.registry import RegistryError
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.server import TrackerServer
from p2pd.tracker.service import TrackerService
from protocol.errors import Fault, Refusal
from protocol.ids import device_text
from protocol.limits import ANNOUNCE_LIFETIME
from protocol.tracker import By, Find, Hits, Refused, Search, Sources
from tests.fakes.manual import ManualReactor
from tests.fakes.tracker_asker import announce, entry, join, listing, who

T = TypeVar("T")


class FakeRouter:
    """Stands in for a SealedRouter: tells whom it was to send away."""

    received_bytes, sent_bytes = 7, 8

    def __init__(self) -> None:
        self.conns: dict[bytes, Any] = {}
        self.expelled: list[bool] = []

    def expel(self, banned: Callable[[bytes, str], object]) -> None:
        self.expelled = [bool(banned(who(n).device_id, who(n).host)) for n in range(4)]


class Bench:
    """An operator of a tracker in one thread, at time 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self.registry = SqliteRegistry(":memory:", max_bans=3)
        self.service = TrackerService(self.registry, "", random.Random(1))
        self.server = TrackerServer(ManualReactor(), self.service, lambda: self.now)  # type: ignore[arg-type]
        self.router = FakeRouter()
        self.admission = Admission()
        self.server.serve(self.router, self.admission)  # type: ignore[arg-type]
        self.operator = Operator(self.run, self.service, self.registry, self.server)

    async def run(self, work: Callable[[], T]) -> T:
        return work()

    def fault(self, work: Any) -> Fault:
        with pytest.raises(Fault) as caught:
            asyncio.run(work)
        return caught.value


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    for number in (1, 2, 3):
        join(bench.service, who(number), entry(number), entry(9, "beta"))
    yield bench
    bench.registry.close()


def hits(bench: Bench, text: str = "alpha") -> int:
    reply = bench.service.handle(Search(9, By.TEXT, text), who(7), bench.now)
    assert isinstance(reply, Hits)
    return len(reply.items)


def test_devices_and_files_come_in_pages(bench: Bench) -> None:
    async def main() -> None:
        peers, files, cursor = [], [], ""
        for _ in range(2):
            page, cursor = await bench.operator.peers(cursor, 2)
            peers += [item.card.device_id for item in page]
        assert (peers, cursor) == ([who(n).device_id for n in (1, 2, 3)], "")
        for _ in range(4):
            found, cursor = await bench.operator.files("", cursor, 1)
            files += [hit.names[0] for hit in found]
        assert (files, cursor) == (["alpha 1", "alpha 2", "alpha 3", "beta"], "")
        found, _ = await bench.operator.files("beta", "", 9)
        assert [(hit.names, hit.sources) for hit in found] == [(["beta"], 3)]

    asyncio.run(main())
    assert bench.fault(bench.operator.peers("no hex", 2)).code == "usage"
    assert bench.fault(bench.operator.files("", "no cursor", 2)).code == "usage"


def test_a_ban_holds_at_once(bench: Bench) -> None:
    ban = Ban(device_text(who(1).device_id), 100.0, "noise", 0.0)
    asyncio.run(bench.operator.ban(ban))
    assert bench.router.expelled == [False, True, False, False]
    assert hits(bench) == 2
    reply = bench.service.handle(Find(9, entry(9).content_id), who(7), 0.0)
    assert isinstance(reply, Sources)
    assert {source.device_id for source in reply.items} == {who(2).device_id, who(3).device_id}
    assert bench.service.handle(announce(), who(1), 1.0) == Refused(9, Refusal.BANNED, 100, "noise")
    assert bench.service.handle(listing(entry(1)), who(1), 99.5) == Refused(9, Refusal.BANNED, 1, "noise")
    assert not isinstance(bench.service.handle(announce(), who(1), 100.0), Refused)
    assert bench.service.refusals == {"banned": 2}


def test_a_network_is_banned_for_good(bench: Bench) -> None:
    asyncio.run(bench.operator.ban(Ban("10.0.0.2/31", FOR_EVER)))
    assert bench.router.expelled == [False, True, True, False]
    assert bench.admission.banned("10.0.0.2", 0.0) == FOR_EVER
    assert hits(bench) == 1
    reply = bench.service.handle(announce(), who(2), 1.0)
    assert isinstance(reply, Refused)
    assert reply.retry_s == 86_400
    assert asyncio.run(bench.operator.unban("10.0.0.2/31"))
    assert not asyncio.run(bench.operator.unban("10.0.0.2/31"))
    assert bench.admission.banned("10.0.0.2", 0.0) == 0.0
    assert not isinstance(bench.service.handle(announce(), who(2), 2.0), Refused)


def test_bans_of_another_tracker_on_the_same_registry_are_taken_up(bench: Bench) -> None:
    bench.registry.ban(Ban(device_text(who(3).device_id)), 0.0)
    assert hits(bench) == 3
    bench.now = service_module.BANS_SECONDS
    bench.service.expire(bench.now)
    assert hits(bench) == 2
    assert bench.router.expelled == [False, False, False, True]


def test_bans_are_listed_with_those_who_guess_and_bounded(bench: Bench) -> None:
    async def main() -> None:
        for number in range(3):
            await bench.operator.ban(Ban(f"192.0.{number}.0/24"))
        for _ in range(3):
            bench.admission.failed("198.51.100.7", 1000.0)
        bans = await bench.operator.bans()
        assert [(ban.subject, cause) for ban, cause in bans] == [
            ("192.0.0.0/24", "hand"),
            ("192.0.1.0/24", "hand"),
            ("192.0.2.0/24", "hand"),
            ("198.51.100.7/32", "wrong_password"),
        ]
        assert await bench.operator.unban("198.51.100.0/24")
        assert len(await bench.operator.bans()) == 3

    asyncio.run(main())
    assert bench.fault(bench.operator.ban(Ban("192.0.9.0/24"))).code == "refused"


def test_the_absent_are_forgotten_at_once(bench: Bench) -> None:
    async def main() -> None:
        assert await bench.operator.expire("") == (b"", 0)
        bench.now = ANNOUNCE_LIFETIME + 1
        assert (await bench.operator.expire(""))[1] == 9  # three devices, six entries
        assert (await bench.operator.figures())["devices"] == 0

    asyncio.run(main())


def test_one_device_is_forgotten_whether_it_is_here_or_not(bench: Bench) -> None:
    text = device_text(who(2).device_id)
    assert asyncio.run(bench.operator.expire(text)) == (who(2).device_id, 3)
    assert hits(bench) == 2
    assert bench.fault(bench.operator.expire(text)).code == "not_found"
    assert bench.fault(bench.operator.expire("aaaaaa")).code == "ambiguous"
    assert bench.fault(bench.operator.expire("aaa")).code == "usage"


def test_figures(bench: Bench) -> None:
    figures = asyncio.run(bench.operator.figures())
    assert (figures["devices"], figures["files"], figures["announces"]) == (3, 6, 3)
    assert (figures["received_bytes"], figures["sent_bytes"], figures["sessions"]) == (7, 8, 0)


def test_a_registry_that_fails_is_a_fault(bench: Bench) -> None:
    def broken() -> None:
        raise RegistryError("no")

    assert bench.fault(bench.operator._do(broken)).code == "storage"
