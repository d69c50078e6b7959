"""p2pd/control/watching.py: the method `events`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from p2pd.control.watching import Watching
from p2pd.events import Events
from p2pd.happenings import QueueChanged, TransferCancelled
from protocol.errors import Fault


def ask(events: Events, **params: Any) -> Any:
    async def progress(event: object) -> None:
        raise AssertionError("it sends none")

    return asyncio.run(Watching(events).events(params, progress))


def test_without_a_cursor_it_begins_now() -> None:
    events = Events("ab")
    events.tell(QueueChanged(1))
    answer = ask(events)
    assert answer == {"items": [], "next": "ab:1", "partial": False, "warnings": [], "more": False}
    events.tell(QueueChanged(2))
    assert [item["max_active"] for item in ask(events, cursor=answer["next"])["items"]] == [2]


def test_it_waits_for_what_was_asked_for() -> None:
    events = Events("ab")

    async def main() -> Any:
        async def progress(event: object) -> None:
            raise AssertionError("it sends none")

        params = {"cursor": "0", "kinds": ["transfer.*"], "wait_s": 30.0}
        task = asyncio.create_task(Watching(events).events(params, progress))
        await asyncio.sleep(0)
        events.tell(QueueChanged(1))
        await asyncio.sleep(0)
        events.tell(TransferCancelled("t-1", "ab", "a"))
        return await asyncio.wait_for(task, 20.0)

    answer = asyncio.run(main())
    assert [item["kind"] for item in answer["items"]] == ["transfer.cancelled"]
    assert answer["next"] == "ab:2"


def test_the_wait_has_an_end() -> None:
    events = Events("ab")
    events.tell(QueueChanged(1))
    answer = ask(events, cursor="0", kinds=["transfer.*"], wait_s=0.02)
    assert (answer["items"], answer["next"]) == ([], "ab:1")


def test_pages_fit_a_reply_and_lose_nothing() -> None:
    events = Events("ab")
    for number in range(900):
        events.tell(TransferCancelled(f"t-{number}", "ab", "x" * 4000))
    found: list[str] = []
    cursor, more = "0", True
    while more:
        answer = ask(events, cursor=cursor)
        found += [item["transfer"] for item in answer["items"]]
        cursor, more = answer["next"], answer["more"]
    assert found == [f"t-{number}" for number in range(900)]


@pytest.mark.parametrize(
    "params", [{"cursor": "x"}, {"kinds": ["nothing"]}, {"kinds": []}, {"wait_s": 61.0}, {"limit": 0}]
)
def test_what_makes_no_sense_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(Fault) as caught:
        ask(Events(), **params)
    assert caught.value.code == "usage"
