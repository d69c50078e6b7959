"""p2pd/peer/finding.py: what the trackers know between them, and which content a person means."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from p2pd.net.addresses import Endpoint
from p2pd.peer.finding import Finder, Query
from p2pd.storage.hashing import Stamp
from p2pd.storage.state import State
from protocol.errors import Fault
from protocol.frames import Feature
from protocol.tracker import By, Hit, Hits, Member, Ok, PeerList, Peers, Search, SearchTerms, Sort
from tests.fakes.swarm import Swarm, manifest_of, octets

EVERYTHING = Query(By.ALL)


def hit(number: int, name: str, sources: int = 1, added_at: int = 1) -> Hit:
    return Hit(bytes((number,)) * 32, bytes((255 - number,)) * 32, 10 * number, [name], sources, added_at)


class FakeTracker:
    """Lists hits page by page; or raises, or talks nonsense."""

    def __init__(
        self,
        name: str,
        *hits: Hit,
        fault: Fault | None = None,
        reply: Any = None,
        features: int = Feature.TERMS,
    ) -> None:
        self.endpoint = Endpoint(name, 9000)
        self.features = int(features)
        self.state = "connected"
        self.hits = list(hits)
        self.fault = fault
        self.reply = reply
        self.asked: list[Any] = []
        self.settlings = self.hurries = self.tries = 0

    @property
    def connected(self) -> bool:
        return self.state == "connected"

    def hurry(self) -> bool:
        self.hurries += 1
        return self.state == "unreachable"

    async def tried(self, timeout: float) -> None:
        self.tries += 1
        self.state = "connected"

    def patience(self, trackers: int) -> float:
        return 1.0

    async def settled(self, timeout: float) -> None:
        self.settlings += 1
        self.state = "connected"

    async def request(self, message: Any, timeout: float = 10.0) -> Any:
        self.asked.append(message)
        if self.fault is not None:
            raise self.fault
        if self.reply is not None:
            return self.reply
        if isinstance(message, Peers):
            rows = [Member(h.content_id[:20], "10.0.0.1", 8001, h.sources) for h in self.hits]
            rows = [row for row in rows if row.device_id > bytes.fromhex(message.cursor)]
            return PeerList(1, rows[:1], rows[0].device_id.hex() if len(rows) > 1 else "")
        start = int(message.cursor or 0)
        found = [h for h in self.hits if self.matches(h, message)]
        end = start + message.limit
        return Hits(1, found[start:end], str(end) if end < len(found) else "")

    def matches(self, hit: Hit, message: Search) -> bool:
        if message.by is By.ID:
            return hit.content_id.hex().startswith(message.text)
        if message.by is By.SHA256:
            return hit.sha256.hex().startswith(message.text)
        if message.by is By.NAME:
            return message.text in hit.names
        return message.by is By.ALL or message.text in hit.names[0]


class Bench:
    """A finder over a real state."""

    def __init__(self, directory: Path, *trackers: FakeTracker) -> None:
        self.store = State(directory / "peer.db")
        self.finder = Finder(self.store, list(trackers))  # type: ignore[arg-type]

    def own(self, name: str, data: bytes) -> bytes:
        """A share of our own; its content id."""
        share = self.store.add_share(f"/{name}", name, 5.0)
        manifest = manifest_of(data)
        self.store.set_shared(share.share_id, manifest, Stamp(1, 1, 1, 1), 5.0)
        return manifest.content_id


def refused(work: Awaitable[object]) -> Fault:
    with pytest.raises(Fault) as caught:
        asyncio.run(work)  # type: ignore[arg-type]
    return caught.value


# -- searching --------------------------------------------------------------------------------------------


def test_hits_of_all_trackers_are_one_list_in_order(tmp_path: Path) -> None:
    one = FakeTracker("one", hit(1, "a", 2, 7), hit(2, "b"))
    two = FakeTracker("two", hit(1, "other", 5, 3), hit(3, "c"))
    bench = Bench(tmp_path, one, two)
    with bench.store:
        answer = asyncio.run(bench.finder.search(EVERYTHING, 10, ""))
    assert [h.names for h in answer.hits] == [["a", "other"], ["b"], ["c"]]
    assert (answer.hits[0].sources, answer.hits[0].added_at) == (5, 7)
    assert (answer.next, answer.faults) == ("", [])


def test_pages_go_on_where_each_tracker_stood(tmp_path: Path) -> None:
    one = FakeTracker("one", *[hit(n, f"one {n}") for n in range(1, 6)])
    two = FakeTracker("two", hit(9, "two 9"))
    bench = Bench(tmp_path, one, two)
    names: list[str] = []
    cursor = ""
    with bench.store:
        for _ in range(3):
            answer = asyncio.run(bench.finder.search(EVERYTHING, 2, cursor))
            names += [h.names[0] for h in answer.hits]
            cursor = answer.next
    assert cursor == ""
    assert names == ["one 1", "one 2", "one 3", "one 4", "one 5", "two 9"]


def test_a_search_is_passed_on_as_it_was_asked_for(tmp_path: Path) -> None:
    tracker = FakeTracker("one")
    bench = Bench(tmp_path, tracker)
    with bench.store:
        asyncio.run(bench.finder.search(Query(By.TEXT, "word", "pdf", 1, 2, Sort.SIZE), 5000, ""))
        query = Query(By.TEXT, "word", "pdf", 1, 2, Sort.SIZE, ("a b",), ("c",), ("d e",))
        asyncio.run(bench.finder.search(query, 5000, ""))
        asyncio.run(bench.finder.search(EVERYTHING, 5000, ""))
    assert tracker.asked == [
        SearchTerms(0, By.TEXT, "word", "pdf", 1, 2, Sort.SIZE, 200, ""),
        SearchTerms(0, By.TEXT, "word", "pdf", 1, 2, Sort.SIZE, 200, "", ["a b"], ["c"], ["d e"]),
        SearchTerms(0, By.ALL, limit=500),
    ]


def test_an_older_tracker_is_asked_what_it_understands_and_its_answer_is_filtered(tmp_path: Path) -> None:
    names = ["annual report x", "report, annual x", "annual report draft x"]
    tracker = FakeTracker(
        "old", *(hit(n, name) for n, name in enumerate(names, 1)), features=Feature.FETCHING
    )
    tracker.matches = lambda hit, message: True  # type: ignore[method-assign]
    bench = Bench(tmp_path, tracker)
    with bench.store:
        query = Query(By.TEXT, "x", phrases=("Annual report",), without=("draft",))
        answer = asyncio.run(bench.finder.search(query, 5000, ""))
        half = asyncio.run(bench.finder.search(Query(By.SHA256, "fe" * 5), 10, ""))
    assert [h.names[0] for h in answer.hits] == ["annual report x"]
    assert half.hits == []
    [asked] = tracker.asked
    assert asked == Search(0, By.TEXT, "x Annual report", limit=200)
    assert type(asked) is Search


def test_one_silent_tracker_makes_an_answer_partial(tmp_path: Path) -> None:
    down = Fault("network", "down")
    bench = Bench(
        tmp_path,
        FakeTracker("one", hit(1, "a")),
        FakeTracker("two", fault=down),
        FakeTracker("three", reply=Ok(1)),
    )
    with bench.store:
        answer = asyncio.run(bench.finder.search(EVERYTHING, 10, ""))
    assert len(answer.hits) == 1
    assert answer.faults[0] is down
    assert "another answer" in answer.faults[1].message


@pytest.mark.parametrize(
    ("codes", "told"),
    [(["network", "auth"], "auth"), (["network", "network"], "network"), (["refused", "network"], "refused")],
)
def test_when_no_tracker_answers_the_most_useful_fault_is_told(
    tmp_path: Path, codes: list[str], told: str
) -> None:
    bench = Bench(tmp_path, *(FakeTracker(f"t{n}", fault=Fault(code, code)) for n, code in enumerate(codes)))
    with bench.store:
        assert refused(bench.finder.search(EVERYTHING, 10, "")).code == told
        assert refused(bench.finder.members(b"", "")).code == told


def test_a_tracker_that_is_being_connected_to_is_waited_for(tmp_path: Path) -> None:
    tracker = FakeTracker("one", hit(1, "a"))
    tracker.state = "connecting"
    bench = Bench(tmp_path, tracker)
    with bench.store:
        assert len(asyncio.run(bench.finder.search(EVERYTHING, 10, "")).hits) == 1
        asyncio.run(bench.finder.search(EVERYTHING, 10, ""))
    assert tracker.settlings == 1


def test_one_that_is_lost_is_dialled_for_who_asks_and_waited_for_when_there_is_no_other(
    tmp_path: Path,
) -> None:
    lost, other = FakeTracker("one", hit(1, "a")), FakeTracker("two", hit(2, "b"))
    lost.state = "unreachable"
    bench = Bench(tmp_path, lost, other)
    with bench.store:
        asyncio.run(bench.finder.search(EVERYTHING, 10, ""))
        assert (lost.hurries, lost.tries) == (1, 0)
        other.state = "wrong_password"
        asyncio.run(bench.finder.search(EVERYTHING, 10, ""))
        assert (lost.hurries, lost.tries) == (2, 1)
    assert other.tries == 0


@pytest.mark.parametrize(
    "cursor",
    ["!", "bm90IGpzb24=", base64.b64encode(b"[1]").decode(), base64.b64encode(b'{"a":1}').decode(), "\u20ac"],
)
def test_a_cursor_of_somebody_elses_is_refused(tmp_path: Path, cursor: str) -> None:
    bench = Bench(tmp_path, FakeTracker("one"))
    with bench.store:
        assert refused(bench.finder.search(EVERYTHING, 10, cursor)).code == "usage"


def test_members_are_listed_once_page_by_page(tmp_path: Path) -> None:
    one, two = FakeTracker("one", hit(1, "a"), hit(2, "b")), FakeTracker("two", hit(1, "a"))
    bench = Bench(tmp_path, one, two)
    with bench.store:
        first, cursor, faults = asyncio.run(bench.finder.members(b"", ""))
        second, end, _ = asyncio.run(bench.finder.members(b"", cursor))
    assert [member.device_id for member in first + second] == [bytes((1,)) * 20, bytes((2,)) * 20]
    assert (end, faults) == ("", [])


# -- references -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "01" * 32,
        "01" * 4,
        "01" * 5 + "0",
        "sha256:" + "fe" * 32,
        "sha256:" + "fe" * 4,
        "fe" * 32,
        "name:a.bin",
        "a.bin",
        "FE" * 32,
    ],
)
def test_everything_a_reference_may_be(tmp_path: Path, text: str) -> None:
    bench = Bench(tmp_path, FakeTracker("one", hit(1, "a.bin"), hit(2, "b.bin")))
    with bench.store:
        found, faults = asyncio.run(bench.finder.resolve(text))
    assert (found.content_id, faults) == (bytes((1,)) * 32, [])


def test_a_name_that_looks_like_a_prefix(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeTracker("one", hit(1, "deadbeef")))
    with bench.store:
        assert asyncio.run(bench.finder.resolve("deadbeef"))[0].names == ["deadbeef"]


def test_names_are_compared_in_normal_form(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeTracker("one", hit(1, "caf\u00e9")))
    own = "\u00e0 moi"
    with bench.store:
        bench.own(own, b"mine")
        assert asyncio.run(bench.finder.resolve("cafe\u0301"))[0].names == ["caf\u00e9"]
        assert asyncio.run(bench.finder.resolve("a\u0300 moi"))[0].names == [own]


def test_what_nobody_has_and_what_several_are(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeTracker("one", hit(1, "same"), hit(2, "same")))
    with bench.store:
        assert refused(bench.finder.resolve("nothing")).code == "not_found"
        ambiguous = refused(bench.finder.resolve("same"))
        assert ambiguous.code == "ambiguous"
        assert ambiguous.details["matches"] == [
            {"id": "01" * 32, "name": "same", "size_bytes": 10},
            {"id": "02" * 32, "name": "same", "size_bytes": 20},
        ]
        assert refused(bench.finder.resolve("")).code == "usage"
        assert refused(bench.finder.resolve("sha256:xyz")).code == "usage"


def test_own_shares_count_too_and_need_no_tracker(tmp_path: Path) -> None:
    down = Fault("network", "down")
    bench = Bench(tmp_path, FakeTracker("one", fault=down))
    with bench.store:
        content_id = bench.own("mine.bin", b"mine")
        sha256 = manifest_of(b"mine").sha256.hex()
        for text in ("mine.bin", content_id.hex(), content_id.hex()[:8], f"sha256:{sha256}", sha256):
            found, faults = asyncio.run(bench.finder.resolve(text))
            assert (found.content_id, found.sources, faults) == (content_id, 0, [down])
        assert refused(bench.finder.resolve("other")) is down


def test_an_own_share_that_is_missing_is_no_match_in_the_swarm(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeTracker("one"))
    with bench.store as store:
        bench.own("mine.bin", b"mine")
        store.withdraw(1, "missing")
        assert refused(bench.finder.resolve("mine.bin")).code == "not_found"


def test_own_and_foreign_contents_of_one_name_are_two(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeTracker("one", hit(1, "same")))
    with bench.store:
        bench.own("same", b"mine")
        assert refused(bench.finder.resolve("same")).code == "ambiguous"


def test_against_a_real_tracker(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
            share = await alice.share("Annual Report.pdf", octets(100))
            answer = await bob.service.finder.search(Query(By.TEXT, "report"), 10, "")
            assert [h.names for h in answer.hits] == [["Annual Report.pdf"]]
            found, _ = await bob.service.finder.resolve("Annual Report.pdf")
            assert found.content_id == share.content_id
            members, _, _ = await bob.service.finder.members(found.content_id, "")
            assert [member.device_id for member in members] == [alice.service.own_id]

    asyncio.run(main())
