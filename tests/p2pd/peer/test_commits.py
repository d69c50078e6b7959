"""p2pd/peer/commits.py: a commit after so many octets or a second, one at a time."""

from __future__ import annotations

import pytest

from p2pd.peer import commits as commits_module
from p2pd.peer.commits import SYNC_SECONDS, Commits
from tests.fakes.manual import ManualReactor


class Bench:
    """Commits on a reactor by hand, and what they asked for."""

    def __init__(self, have: int = 0) -> None:
        self.reactor = ManualReactor()
        self.asked: list[int] = []
        self.commits = Commits(self.reactor, self.asked.append, have)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten octets are many."""
    monkeypatch.setattr(commits_module, "SYNC_OCTETS", 10)


def test_a_second_after_the_first_octet() -> None:
    bench = Bench(0b1)
    bench.commits.wrote(1, 0b11)
    bench.commits.wrote(1, 0b111)
    bench.reactor.advance(0.9 * SYNC_SECONDS)
    assert bench.asked == []
    bench.reactor.advance(0.2 * SYNC_SECONDS)
    assert bench.asked == [0b111]


def test_many_octets_at_once_and_never_two_commits_at_a_time() -> None:
    bench = Bench()
    bench.commits.wrote(10, 0b1)
    assert bench.asked == [0b1]
    bench.commits.wrote(10, 0b11)
    assert bench.asked == [0b1]
    bench.commits.done(0b1)
    bench.reactor.advance(SYNC_SECONDS)
    assert bench.asked == [0b1, 0b11]
    bench.commits.done(0b11)
    bench.reactor.advance(10 * SYNC_SECONDS)
    assert bench.asked == [0b1, 0b11]


def test_after_the_end_nothing_is_asked() -> None:
    bench = Bench()
    bench.commits.wrote(1, 0b1)
    bench.commits.stop()
    bench.commits.done(0)
    bench.reactor.advance(10 * SYNC_SECONDS)
    assert bench.asked == []
