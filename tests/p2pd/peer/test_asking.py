"""p2pd/peer/asking.py: blocks are asked for at the limits, fairly, and no more at a time than a source holds."""

from __future__ import annotations

import pytest

from p2pd.engine.ratelimit import TokenBucket
from p2pd.peer.asking import Asking
from protocol.limits import KIB, MAX_BLOCK, MAX_OUTSTANDING_BLOCKS, MIB, MIN_BLOCK
from tests.fakes.manual import ManualReactor


class Download:
    """Asks for blocks without end, of each source, and is answered after a while."""

    def __init__(self, bench: Bench, limit: int = 0) -> None:
        self.bucket = TokenBucket(limit, bench.reactor.now)
        self.bench = bench
        self.asked: dict[str, int] = {}

    def fetch(self, source: str, pieces: int = 1) -> None:
        for _ in range(pieces):
            self.bench.asking.ask(self, source, lambda: self.ask(source))

    def ask(self, source: str) -> int:
        length = self.bench.asking.block(self)
        self.asked[source] = self.asked.get(source, 0) + length
        self.bench.reactor.later(0.01, self.answered, source)
        return length

    def answered(self, source: str) -> None:
        self.bench.asking.answered(source)
        self.fetch(source)

    @property
    def octets(self) -> int:
        return sum(self.asked.values())


class Bench:
    def __init__(self) -> None:
        self.reactor = ManualReactor()
        self.asking = Asking(self.reactor)  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("rate", [100 * KIB, MIB, 50 * MIB])
@pytest.mark.parametrize("sources", [1, 4])
def test_the_limit_holds_for_all_together(bench: Bench, rate: int, sources: int) -> None:
    bench.asking.set_limit(rate)
    download = Download(bench)
    for number in range(sources):
        download.fetch(str(number), 8)
    bench.reactor.advance(10.0)
    assert download.octets == pytest.approx(10 * rate, rel=0.05)
    for octets in download.asked.values():
        assert octets == pytest.approx(10 * rate / sources, rel=0.1)


def test_downloads_share_it(bench: Bench) -> None:
    bench.asking.set_limit(MIB)
    one, two = Download(bench), Download(bench)
    one.fetch("a", 8)
    two.fetch("a", 2)
    bench.reactor.advance(10.0)
    assert one.octets == pytest.approx(two.octets, rel=0.05)


def test_a_download_has_its_own_limit(bench: Bench) -> None:
    slow, quick = Download(bench, 200 * KIB), Download(bench)
    bench.asking.set_limit(MIB)
    slow.fetch("a", 4)
    quick.fetch("a", 4)
    bench.reactor.advance(10.0)
    assert slow.octets == pytest.approx(2000 * KIB, rel=0.05)
    assert slow.octets + quick.octets == pytest.approx(10 * MIB, rel=0.05)


def test_only_an_own_limit(bench: Bench) -> None:
    slow = Download(bench, 200 * KIB)
    slow.fetch("a", 4)
    bench.reactor.advance(10.0)
    assert slow.octets == pytest.approx(2000 * KIB, rel=0.05)


def test_blocks_suit_the_stricter_limit(bench: Bench) -> None:
    download = Download(bench)
    assert bench.asking.block(download) == MAX_BLOCK
    download.bucket.set_rate(MIB, bench.reactor.now)
    assert bench.asking.block(download) == 64 * KIB
    bench.asking.set_limit(100 * KIB)
    assert bench.asking.block(download) == MIN_BLOCK


def test_a_limit_that_is_lifted_holds_nothing_back(bench: Bench) -> None:
    bench.asking.set_limit(10 * KIB)
    download = Download(bench)
    download.fetch("a", 10)
    assert download.octets == MIN_BLOCK
    bench.asking.set_limit(0)
    assert download.octets == MIN_BLOCK + 9 * MAX_BLOCK


def test_a_source_is_asked_for_no_more_than_it_holds(bench: Bench) -> None:
    one, two = Download(bench), Download(bench)
    one.fetch("a", MAX_OUTSTANDING_BLOCKS)
    two.fetch("a", 5)
    two.fetch("b", 1)
    assert one.octets == MAX_OUTSTANDING_BLOCKS * MIB
    assert two.asked == {"b": MIB}
    bench.asking.answered("a")
    assert two.asked == {"b": MIB, "a": MIB}


def test_what_is_not_wanted_any_more_costs_nothing(bench: Bench) -> None:
    bench.asking.set_limit(10 * KIB)
    download = Download(bench)
    download.fetch("a")
    for _ in range(5):
        bench.asking.ask(download, "a", lambda: 0)
    download.fetch("a")
    bench.reactor.advance(1.7)
    assert download.octets == 2 * MIN_BLOCK
    download.fetch("b", 3)
    bench.asking.forget(download, "b")
    bench.reactor.advance(60.0)
    assert "b" not in download.asked


def test_the_rest_of_a_piece_comes_before_the_next(bench: Bench) -> None:
    order: list[str] = []
    download = Download(bench)

    def piece(name: str, left: int) -> int:
        order.append(name)
        if left:
            bench.asking.ask(download, "a", lambda: piece(name, left - 1), first=True)
        return 1

    bench.asking.set_limit(10 * KIB)
    for name in "xyz":
        bench.asking.ask(download, "a", lambda name=name: piece(name, 2))  # type: ignore[misc]
    bench.reactor.advance(1.0)
    assert "".join(order) == "xxxyyyzzz"
