"""tests/fakes/swarm.py: a tracker that goes and comes back is waited for, however long a loaded machine takes for it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from p2pd.peer import trackers as trackers_module
from tests.fakes.reactors import HOST
from tests.fakes.swarm import Swarm, eventually, in_swarm, octets


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between attempts."""
    monkeypatch.setattr(trackers_module, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(trackers_module, "BACKOFF_MAX", 0.05)


def test_what_is_shared_while_the_tracker_is_away_is_published_when_it_is_back(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice = await swarm.peer("alice")
        tracker = alice.service.trackers[0]
        await swarm.tracker_down()
        await eventually(lambda: tracker.state == "unreachable")
        await alice.share("a.bin", octets(10), publish=False)
        published = asyncio.create_task(alice.published())  # begins before the next line does
        await swarm.tracker_up()
        await published
        assert tracker.published == alice.service.store.revision

    in_swarm(tmp_path, work)


def test_a_tracker_waits_for_its_port(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        await swarm.tracker_down()
        holders: list[socket.socket] = []

        def held() -> bool:
            try:
                holders.append(socket.create_server((HOST, swarm.port)))
            except OSError:
                return False
            return True

        await eventually(held)
        up = asyncio.create_task(swarm.tracker_up())
        asyncio.get_running_loop().call_soon(holders[0].close)  # after the first attempt
        await up
        await swarm.peer("alice")

    in_swarm(tmp_path, work)
