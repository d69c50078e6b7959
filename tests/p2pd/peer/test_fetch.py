"""p2pd/peer/fetch.py: a manifest from whoever gives it, and only the right one."""

from __future__ import annotations

from typing import Any

import pytest

from p2pd.net.dealer import Lost
from p2pd.peer.fetch import PART_SECONDS, PATIENCE_FIRST, ManifestFetch
from protocol.codec import encode
from protocol.errors import Refusal
from protocol.limits import MANIFEST_PART, MAX_MANIFEST, MIB
from protocol.manifest import Manifest
from protocol.peer import Available, GetManifest, ManifestPart, Refused
from tests.fakes.manual import FakePeer, ManualReactor
from tests.fakes.swarm import manifest_of

COUNT = 2 * MANIFEST_PART // 32
BIG = Manifest(COUNT * MIB, MIB, bytes(32), bytes(range(256)) * (COUNT // 8))
"""Its octets need three parts."""
SMALL = manifest_of(b"small")


class Bench:
    """A fetch and what it told."""

    def __init__(self, manifest: Manifest = SMALL) -> None:
        self.octets = manifest.encode()
        self.done: list[Manifest] = []
        self.abandoned: list[tuple[str, str]] = []
        self.reactor = ManualReactor()
        self.fetch = ManifestFetch(
            self.reactor,  # type: ignore[arg-type]
            manifest.content_id,
            Manifest.decode,
            MAX_MANIFEST,
            self.done.append,
            lambda peer, lost: self.abandoned.append((peer.name, lost.code)),
        )

    def ready(self, name: str) -> FakePeer:
        peer = FakePeer(name)
        self.fetch.peer_ready(peer)  # type: ignore[arg-type]
        return peer

    def give(self, peer: FakePeer, octets: bytes | None = None) -> None:
        data = self.octets if octets is None else octets
        offset = peer.messages[0].offset
        peer.answer(ManifestPart(1, len(data)), data[offset : offset + MANIFEST_PART])


def test_a_manifest_of_many_parts_is_put_together() -> None:
    bench = Bench(BIG)
    peer = bench.ready("a")
    for part in range(3):
        assert peer.messages == [GetManifest(0, BIG.content_id, part * MANIFEST_PART)]
        bench.give(peer)
    assert bench.done == [BIG]
    assert bench.fetch.finished
    assert peer.detached == [bench.fetch]
    assert not bench.abandoned


def test_one_source_is_asked_at_a_time_and_the_others_let_go_in_the_end() -> None:
    bench = Bench()
    first, second = bench.ready("a"), bench.ready("b")
    assert not second.asked
    bench.give(first)
    assert bench.done == [SMALL]
    assert second.detached == [bench.fetch]
    late = bench.ready("c")
    assert not late.asked
    bench.fetch.peer_abandoned(late, Lost("lost", "x"))  # type: ignore[arg-type]
    assert not bench.abandoned


def liars() -> dict[str, Any]:
    octets = SMALL.encode()
    wrong = manifest_of(b"other").encode()
    return {
        "wrong manifest": (ManifestPart(1, len(wrong)), wrong),
        "changed": (ManifestPart(1, len(octets)), octets[:-1] + b"?"),
        "refused": (Refused(1, Refusal.NOT_FOUND), b""),
        "other answer": (Available(1, True), b""),
        "empty part": (ManifestPart(1, 100), b""),
        "too long": (ManifestPart(1, 10), octets),
        "part too long": (ManifestPart(1, 2 * MANIFEST_PART), bytes(MANIFEST_PART + 1)),
        "not a manifest": (ManifestPart(1, 3), encode([1, 2])),
    }


@pytest.mark.parametrize("kind", liars())
def test_a_source_without_the_right_manifest_is_left_for_the_next(kind: str) -> None:
    bench = Bench()
    liar, honest = bench.ready("liar"), bench.ready("honest")
    reply, payload = liars()[kind]
    liar.answer(reply, payload)
    assert bench.done == []
    assert bench.abandoned == [("liar", "refused")]
    assert liar.detached == [bench.fetch]
    bench.give(honest)
    assert bench.done == [SMALL]


@pytest.mark.parametrize(
    ("kind", "asked_again"), [("changed", 0), ("too long", 0), ("refused", 1), ("other answer", 1)]
)
def test_a_liar_is_not_asked_again(kind: str, asked_again: int) -> None:
    bench = Bench()
    reply, payload = liars()[kind]
    bench.ready("a").answer(reply, payload)
    again = bench.ready("a")
    assert len(again.asked) == asked_again
    assert again.detached == ([] if asked_again else [bench.fetch])
    honest = bench.ready("honest")
    bench.give(again if asked_again else honest)
    assert bench.done == [SMALL]


def test_a_silent_source_waits_behind_the_others() -> None:
    bench = Bench(BIG)
    silent, other = bench.ready("silent"), bench.ready("other")
    bench.give(silent)
    silent.answer(Lost("timeout", "no"))
    assert bench.abandoned == []
    assert other.messages == [GetManifest(0, BIG.content_id, 0)]
    assert not silent.asked
    other.answer(Lost("timeout", "no"))
    for _ in range(3):
        bench.give(silent)
    assert bench.done == [BIG]


def test_another_is_asked_soon_when_one_is_silent_and_the_slow_have_their_time_in_the_end() -> None:
    bench = Bench(BIG)
    a = bench.ready("a")
    bench.reactor.advance(PART_SECONDS)
    assert len(a.messages) == 1, "there is nobody else"
    b = bench.ready("b")
    bench.reactor.advance(PATIENCE_FIRST)
    assert b.messages == [GetManifest(0, BIG.content_id, 0)]
    bench.reactor.advance(2 * PATIENCE_FIRST - 0.1)
    assert len(a.messages) == 1
    bench.reactor.advance(0.2)
    assert len(a.messages) == 2
    bench.give(b)  # too late
    bench.give(a)  # the answer to what was asked first
    assert len(a.messages) == 1
    for _ in range(3):
        bench.reactor.advance(3.5 * PATIENCE_FIRST)
        bench.give(a)
    assert bench.done == [BIG]
    bench.reactor.advance(60)
    assert not b.messages


def test_one_that_is_silent_to_others_is_asked_last() -> None:
    bench = Bench()
    silent = FakePeer("silent")
    silent.silence = PATIENCE_FIRST + 0.1
    bench.fetch.peer_ready(silent)  # type: ignore[arg-type]
    assert len(silent.messages) == 1, "there is nobody else"
    first, second = bench.ready("first"), bench.ready("second")
    assert (len(first.messages), len(second.messages)) == (1, 0)
    bench.fetch.peer_lost(first, Lost("lost", "gone"))  # type: ignore[arg-type]
    bench.give(second)
    assert bench.done == [SMALL]
    assert len(silent.messages) == 1


def test_a_part_that_comes_is_progress() -> None:
    bench = Bench(BIG)
    peer = bench.ready("a")
    assert bench.fetch.progress_at == 0.0
    bench.give(peer)
    assert bench.fetch.progress_at > 0.0


def test_the_next_source_begins_from_the_first_octet() -> None:
    bench = Bench(BIG)
    first = bench.ready("a")
    bench.give(first)
    second = bench.ready("b")
    bench.fetch.peer_lost(first, Lost("lost", "gone"))  # type: ignore[arg-type]
    assert second.messages == [GetManifest(0, BIG.content_id, 0)]
    bench.give(first)  # a late answer
    for _ in range(3):
        bench.give(second)
    assert bench.done == [BIG]


def test_a_source_that_is_given_up_is_told_of() -> None:
    bench = Bench()
    peer = bench.ready("a")
    bench.fetch.peer_abandoned(peer, Lost("unreachable", "nobody"))  # type: ignore[arg-type]
    assert bench.abandoned == [("a", "unreachable")]
    again = bench.ready("a")
    bench.give(again)
    assert bench.done == [SMALL]


def test_a_stopped_fetch_takes_no_answer() -> None:
    bench = Bench()
    peer = bench.ready("a")
    bench.fetch.stop()
    bench.give(peer)
    bench.fetch.peer_push(peer, object())  # type: ignore[arg-type]
    assert bench.done == []
    assert peer.detached == [bench.fetch]
