"""p2pd/peer/contents.py: each content is delivered or refused once, whatever the sources do."""

from __future__ import annotations

import pytest

from p2pd.engine.ratelimit import TokenBucket
from p2pd.net.dealer import Lost
from p2pd.peer.contents import PATIENCE_MIN, TICK_SECONDS, UNTAKEN, WINDOW, ContentsFetch, Delivery, Want
from protocol.errors import Refusal
from protocol.limits import MAX_BLOCK, MAX_CONTENTS
from protocol.peer import Contents, GetContents, Refused
from tests.fakes.manual import FakePeer, ManualReactor


def wants(count: int, size: int = 4) -> list[Want]:
    return [Want(number.to_bytes(32, "big"), size) for number in range(count)]


class Bench:
    """A fetch and what it told."""

    def __init__(self, asked: list[Want]) -> None:
        self.deliveries: list[Delivery] = []
        self.abandoned: list[tuple[str, str]] = []
        self.reactor = ManualReactor()
        self.fetch = ContentsFetch(
            self.reactor,  # type: ignore[arg-type]
            asked,
            self.deliveries.append,
            lambda peer, lost: self.abandoned.append((peer.name, lost.code)),
            TokenBucket(),
        )

    def ready(self, name: str, features: int | None = None) -> FakePeer:
        peer = FakePeer(name)
        if features is not None:
            peer.features = features
        self.fetch.peer_ready(peer)  # type: ignore[arg-type]
        return peer

    @property
    def delivered(self) -> list[bytes]:
        return [want.content_id for delivery in self.deliveries for want in delivery.wants]


def whole(peer: FakePeer, size: int = 4) -> None:
    """Answers the oldest request with everything."""
    count = len(peer.messages[0].contents)
    peer.answer(Contents(0, [size] * count), bytes(size * count))


def test_many_are_asked_in_one_message_and_all_are_delivered() -> None:
    asked = wants(MAX_CONTENTS + 3)
    bench = Bench(asked)
    peer = bench.ready("alice")
    assert [len(message.contents) for message in peer.messages] == [MAX_CONTENTS, 3]
    assert isinstance(peer.messages[0], GetContents)
    whole(peer)
    whole(peer)
    assert bench.delivered == [want.content_id for want in asked]
    assert bench.fetch.arrived == 4 * len(asked)
    assert bench.deliveries[0].octets == bytes(4 * MAX_CONTENTS)


def test_a_message_asks_for_no_more_than_a_block_or_what_the_source_wants() -> None:
    bench = Bench(wants(9, MAX_BLOCK // 4))
    assert [len(message.contents) for message in bench.ready("alice").messages] == [4, 4, 1]
    slow = Bench(wants(3, 100_000))
    peer = FakePeer("slow")
    peer.pace = 20_000
    slow.fetch.peer_ready(peer)  # type: ignore[arg-type]
    assert [len(message.contents) for message in peer.messages] == [1, 1, 1]


def test_windows_and_what_the_receiver_has_not_taken_bound_what_is_open() -> None:
    bench = Bench(wants(100, MAX_BLOCK))
    peers = [bench.ready(name) for name in ("a", "b", "c", "d")]
    assert [len(peer.messages) for peer in peers] == [WINDOW] * 3 + [0]
    assert sum(len(peer.messages) for peer in peers) == UNTAKEN
    whole(peers[0], MAX_BLOCK)
    assert sum(len(peer.messages) for peer in peers) == UNTAKEN - 1, "the receiver is behind"
    bench.fetch.taken()
    assert sum(len(peer.messages) for peer in peers) == UNTAKEN


def test_refused_contents_are_delivered_as_such() -> None:
    bench = Bench(wants(3))
    bench.ready("alice").answer(Contents(0, [4, -Refusal.NOT_FOUND, 4]), b"aaaabbbb")
    assert list(bench.deliveries[0].results) == [4, -Refusal.NOT_FOUND, 4]
    assert bench.deliveries[0].octets == b"aaaabbbb"


@pytest.mark.parametrize(
    ("results", "payload"),
    [
        ([4, 4], b"12345678"),
        ([4, 4, 5], bytes(13)),
        ([4, 4, 4], bytes(11)),
        ([0, 0, 0], b""),
        ([12, -1, -1], bytes(12)),
    ],
)
def test_an_answer_that_does_not_fit_costs_its_sender_the_link(results: list[int], payload: bytes) -> None:
    bench = Bench(wants(3))
    liar = bench.ready("liar")
    liar.answer(Contents(0, results), payload)
    assert len(liar.dropped) == 1
    assert bench.deliveries == []
    bench.fetch.peer_lost(liar, Lost("closed", "dropped"))  # type: ignore[arg-type]
    bench.fetch.peer_ready(liar)  # type: ignore[arg-type]
    assert liar.messages == []
    whole(bench.ready("honest"))
    assert len(bench.delivered) == 3


def test_wrong_octets_are_asked_of_others() -> None:
    asked = wants(2)
    bench = Bench(asked)
    liar, honest = bench.ready("liar"), bench.ready("honest")
    whole(liar)
    bench.fetch.again(asked[1:], liar)  # type: ignore[arg-type]
    assert bench.abandoned == [("liar", "refused")]
    assert honest.messages[0].contents == [asked[1].content_id]


def test_a_source_that_goes_away_or_refuses_leaves_its_requests_to_others() -> None:
    asked = wants(2 * MAX_CONTENTS)
    bench = Bench(asked)
    first = bench.ready("first")
    second = bench.ready("second")
    assert (len(first.messages), len(second.messages)) == (2, 0)
    first.answer(Refused(0, Refusal.LIMIT, 1))
    assert bench.abandoned == [("first", "refused")]
    assert len(second.messages) == 1
    first.answer(Lost("lost", "gone"), index=0)
    assert len(second.messages) == 2
    whole(second)
    whole(second)
    assert sorted(bench.delivered) == sorted(want.content_id for want in asked)


def test_one_without_the_feature_is_never_asked() -> None:
    bench = Bench(wants(1))
    peer = bench.ready("old", features=0)
    assert (peer.messages, bench.fetch.sources, len(peer.detached)) == ([], 0, 1)


def test_stopping_ends_it() -> None:
    bench = Bench(wants(2 * MAX_CONTENTS))
    peer = bench.ready("alice")
    bench.fetch.stop()
    whole(peer)
    bench.fetch.peer_ready(peer)  # type: ignore[arg-type]
    assert bench.deliveries == []
    assert bench.fetch.sources == 0
    assert peer.withdrawn
    bench.reactor.advance(1)
    assert not bench.reactor.timers, "it does not look for the silent any more"
    assert peer.detached


def quick(bench: Bench, peer: FakePeer) -> None:
    """An answer after a tenth of a second."""
    bench.reactor.advance(0.1)
    whole(peer)
    bench.fetch.taken()


def test_what_a_silent_source_owes_goes_to_the_others_and_it_is_asked_again_when_it_gives() -> None:
    asked = wants(9 * MAX_CONTENTS)
    bench = Bench(asked)
    silent, other = bench.ready("silent"), bench.ready("other")
    assert (len(silent.messages), len(other.messages)) == (4, 4)
    quick(bench, silent)
    for _ in range(4):
        quick(bench, other)
    assert (len(silent.messages), len(other.messages)) == (4, 0), (
        "all that is left is asked of the silent one"
    )
    bench.reactor.advance(PATIENCE_MIN + TICK_SECONDS)
    assert len(other.messages) == 4
    for _ in range(4):
        quick(bench, other)
    assert sorted(bench.delivered) == sorted(want.content_id for want in asked)
    for _ in range(4):
        quick(bench, silent)
    assert len(bench.delivered) == len(asked), "each is delivered once"


def test_one_that_was_silent_is_asked_again_only_when_it_gives_something() -> None:
    bench = Bench(wants(60 * MAX_CONTENTS))
    silent, other = bench.ready("silent"), bench.ready("other")
    for _ in range(50):
        quick(bench, other)
    assert len(silent.messages) == WINDOW
    quick(bench, silent)
    assert len(silent.messages) == 2 * WINDOW - 1, "what it still owes it may answer, but is not waited for"


def test_when_all_are_silent_nothing_is_taken_back() -> None:
    bench = Bench(wants(8 * MAX_CONTENTS))
    both = [bench.ready("a"), bench.ready("b")]
    bench.reactor.advance(30)
    assert [len(peer.messages) for peer in both] == [4, 4]


def test_a_source_that_is_slow_but_steady_keeps_what_it_was_asked_for() -> None:
    bench = Bench(wants(90 * MAX_CONTENTS))
    slow, other = bench.ready("slow"), bench.ready("other")
    for _ in range(5):
        for _ in range(14):
            quick(bench, other)
        whole(slow)
        bench.fetch.taken()
        assert len(slow.messages) == WINDOW
    assert bench.fetch.arrived == 4 * len(bench.delivered), "nothing came in vain"


def test_after_a_sleep_of_ours_nobody_was_silent() -> None:
    bench = Bench(wants(9 * MAX_CONTENTS))
    a, b = bench.ready("a"), bench.ready("b")
    quick(bench, a)
    bench.reactor.timers[0].when += 60
    bench.reactor.advance(60)
    for _ in range(4):
        quick(bench, b)
    for _ in range(4):
        quick(bench, a)
    assert len(bench.delivered) == 9 * MAX_CONTENTS
    assert bench.fetch.arrived == 4 * 9 * MAX_CONTENTS, "nothing came twice"
