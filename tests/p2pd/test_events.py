"""p2pd/events.py: the ring and its readers."""

from __future__ import annotations

import asyncio
import threading

import pytest

from p2pd.events import Events, chosen
from p2pd.happenings import KINDS, QueueChanged, TransferCancelled
from protocol.errors import Fault


def filled(count: int, **how: int) -> Events:
    events = Events("ab", lambda: 1.25, **how)
    for number in range(1, count + 1):
        events.tell(QueueChanged(number))
    return events


def seqs(events: Events, cursor: str, limit: int = 100, kinds: frozenset[str] | None = None) -> list[int]:
    return [item["seq"] for item in events.read(*events.position(cursor), kinds, limit).items]


def test_an_event_says_when_and_where_it_stands() -> None:
    (item,) = filled(1).read(0, True, None, 10).items
    assert item == {
        "run": "ab",
        "seq": 1,
        "cursor": "ab:1",
        "time": "1970-01-01T00:00:01.250Z",
        "kind": "queue.changed",
        "max_active": 1,
    }


def test_reading_goes_on_from_any_cursor() -> None:
    events = filled(5)
    assert seqs(events, "0") == [1, 2, 3, 4, 5]
    assert seqs(events, "3") == seqs(events, "ab:3") == [4, 5]
    assert seqs(events, "ab:5") == []
    first = events.read(0, True, None, 2)
    assert [item["seq"] for item in first.items] == [1, 2]
    assert first.more
    assert seqs(events, events.cursor(first.after)) == [3, 4, 5]


def test_kinds_that_were_not_asked_for_are_passed_over() -> None:
    events = filled(3)
    events.tell(TransferCancelled("t-1", "ab", "a"))
    found = events.read(0, True, frozenset({"transfer.cancelled"}), 10)
    assert [item["seq"] for item in found.items] == [4]
    nothing = events.read(0, True, frozenset({"share.added"}), 10)
    assert (nothing.items, nothing.after, nothing.more) == ([], 4, False)


def test_what_is_gone_is_a_gap() -> None:
    events = filled(10, kept=4)
    gap, *rest = events.read(*events.position("ab:2"), frozenset({"share.added"}), 10).items
    assert (gap["kind"], gap["reason"], gap["missed"], gap["cursor"]) == ("gap", "lost", 4, "ab:6")
    assert rest == []
    assert seqs(events, "ab:2") == [6, 7, 8, 9, 10]
    assert seqs(events, "ab:6") == [7, 8, 9, 10]


def test_another_run_is_a_gap() -> None:
    events = filled(3)
    for cursor in ("cd:1", "99"):
        gap, *rest = events.read(*events.position(cursor), None, 10).items
        assert (gap["kind"], gap["reason"], gap["missed"], gap["seq"]) == ("gap", "restarted", None, 0)
        assert [item["seq"] for item in rest] == [1, 2, 3]


def test_memory_is_bounded_by_octets_too() -> None:
    events = Events(octets=50_000)
    for _ in range(100):
        events.tell(TransferCancelled("t-1", "ab", "x" * 5000))
    kept = events.read(0, True, None, 1000).items
    assert kept[0]["kind"] == "gap"
    assert 2 <= len(kept) <= 11


@pytest.mark.parametrize("cursor", ["x", "ab:", "-1", "ab:1:", "9" * 19])
def test_a_cursor_that_is_none(cursor: str) -> None:
    with pytest.raises(Fault) as caught:
        filled(1).position(cursor)
    assert caught.value.code == "usage"


def test_globs_of_kinds() -> None:
    assert chosen(None) is None
    assert chosen(["share.removed", "transfer.d*"]) == {"share.removed", "transfer.done"}
    assert chosen(["*"]) == set(KINDS)
    with pytest.raises(Fault, match="no kind of event is like"):
        chosen(["share.*", "nothing.*"])


def test_a_wait_ends_with_news_from_another_thread_or_with_its_time() -> None:
    events = Events()

    async def main() -> None:
        await events.wait(0, 0.01)
        assert events.last == 0
        waits = [asyncio.create_task(events.wait(0, 30.0)) for _ in range(3)]
        await asyncio.sleep(0)
        thread = threading.Thread(target=events.tell, args=(QueueChanged(1),))
        thread.start()
        await asyncio.wait_for(asyncio.gather(*waits), 20.0)
        thread.join()
        await events.wait(0, 30.0)  # it is there already
        waiting = asyncio.create_task(events.wait(1, 30.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(main())
    assert events._waiting == []
    events.tell(QueueChanged(2))
    assert events.last == 2


def test_numbers_have_no_holes_when_many_threads_tell() -> None:
    events = Events()
    threads = [
        threading.Thread(target=lambda: [events.tell(QueueChanged(1)) for _ in range(200)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seqs(events, "0", 1000) == list(range(1, 801))
