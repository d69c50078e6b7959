"""p2pd/peer/redial.py: how long until a tracker is dialled again, and who may have it sooner."""

from __future__ import annotations

import asyncio
import random

import pytest

from p2pd.net.outcome import Lost
from p2pd.peer import redial as redial_module
from p2pd.peer.redial import Redial
from protocol.errors import Refusal
from tests.fakes.reactors import DEADLINE

LONG = 3600.0
GONE = Lost("lost", "gone")


class Pause:
    """A pause that has begun."""

    def __init__(self, state: str = "unreachable", lost: Lost = GONE, backoff: float = LONG) -> None:
        self.redial = Redial(random.Random(1))
        self.redial.lost(state, lost)
        self.task = asyncio.create_task(self.redial.rest(state, lost, backoff))

    async def over(self) -> None:
        """Returns when it is over."""
        await asyncio.wait_for(self.task, DEADLINE)


def test_whoever_waits_ends_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        pause = Pause()
        assert pause.redial.resting
        assert not pause.redial.hurry(), "it has just begun"
        monkeypatch.setattr(redial_module, "LEAST_SECONDS", 0.0)
        assert pause.redial.hurry()
        assert not pause.redial.resting
        assert not pause.redial.hurry(), "the attempt is under way"
        await pause.over()
        assert not pause.redial.hurry()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("state", "lost"),
    [
        ("unreachable", Lost("unreachable", "hung up", Refusal.BUSY)),
        ("unreachable", Lost("refused", "full", Refusal.LIMIT, 5)),
        ("unreachable", Lost("lost", "later", 0, 5)),
        ("wrong_password", Lost("auth", "another password")),
        ("refused", Lost("refused", "banned", Refusal.BANNED, 60)),
    ],
)
def test_a_pause_that_has_a_reason_is_kept_but_for_new_keys(
    monkeypatch: pytest.MonkeyPatch, state: str, lost: Lost
) -> None:
    monkeypatch.setattr(redial_module, "LEAST_SECONDS", 0.0)

    async def main() -> None:
        pause = Pause(state, lost)
        assert not pause.redial.resting
        assert not pause.redial.hurry()
        pause.redial.go()
        await pause.over()

    asyncio.run(main())


@pytest.mark.parametrize(("limit", "refusal"), [("RETRY_MAX", 0), ("RETRY_BANNED", Refusal.BANNED)])
def test_what_the_tracker_asks_for_counts_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, limit: str, refusal: int
) -> None:
    async def main() -> None:
        lost = Lost("refused", "later", refusal, 9999)
        asked = Pause("refused", lost, 0.0)
        await Pause(backoff=0.0).over()  # one that began later
        assert not asked.task.done()
        asked.redial.go()
        await asked.over()
        monkeypatch.setattr(redial_module, limit, 0.01)
        await Pause("refused", lost, 0.0).over()

    asyncio.run(main())


def test_a_connection_that_was_given_up_for_a_newer_key_is_dialled_at_once() -> None:
    async def main() -> None:
        await Pause("connecting").over()
        await Pause(backoff=0.0).over()

    asyncio.run(main())
