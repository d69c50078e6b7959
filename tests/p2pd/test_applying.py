"""p2pd.applying: each live setting reaches what it is about."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.applying import open_log_file, register_log, register_peer, register_tracker
from p2pd.logs import Log
from p2pd.tracker.policy import Policy
from p2pd.tracker.quota import Kind
from protocol.errors import Fault
from tests.fakes.supervised import make_tuning
from tests.fakes.swarm import Swarm, eventually, in_swarm


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    logger = logging.getLogger("p2pd")
    before = logger.level
    yield
    logger.setLevel(before)


def test_the_settings_of_the_log(tmp_path: Path) -> None:
    async def work() -> None:
        tuning, log = make_tuning(tmp_path), Log("text", io.StringIO())
        register_log(tuning, log)
        await tuning.set("log.level", "error")
        assert logging.getLogger("p2pd").level == logging.ERROR
        await tuning.set("log.format", "json")
        assert log.style == "json"
        await tuning.set("log.file", "p2pd.log")
        log.handle(logging.LogRecord("p2pd.x", logging.ERROR, "", 0, "here", (), None))
        assert '"message": "here"' in (tmp_path / "p2pd.log").read_text()
        (change,) = await tuning.set("log.file", "missing/p2pd.log")
        assert change.error is not None
        assert "cannot open the log file" in change.error.message
        log.handle(logging.LogRecord("p2pd.x", logging.ERROR, "", 0, "still here", (), None))
        assert "still here" in (tmp_path / "p2pd.log").read_text()
        await tuning.unset("log.file")
        log.set_file(None)

    asyncio.run(work())


def test_a_log_file_that_cannot_be_is_told_at_the_start(tmp_path: Path) -> None:
    tuning = make_tuning(tmp_path, environ={"P2PD_LOG_FILE": "/proc/p2pd.log"})
    with pytest.raises(Fault, match="cannot open the log file"):
        open_log_file(Log("text", io.StringIO()), tuning.settings)


def test_the_settings_of_a_peer(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        member = await swarm.peer("alice")
        peer = member.service
        tuning = make_tuning(member.home)
        register_peer(tuning, peer, lambda settings: list(settings.trackers))
        await tuning.set("peer.max_downloads", "3")
        await tuning.set("peer.free_floor", "5M")
        await tuning.set("peer.share_downloads", "no")
        await tuning.set("limit.up", "1M")
        assert (peer.downloads.max_active, peer.space.floor, peer.share_downloads) == (3, 5 << 20, False)
        assert peer.bandwidth.limit("up") == 1 << 20
        await tuning.set("hooks.download_done", ["/bin/echo", "a b"])
        await tuning.set("hooks.timeout_s", "7")
        assert (peer.hooks.settings.programs["download_done"], peer.hooks.settings.seconds) == (
            ["/bin/echo", "a b"],
            7,
        )
        peer.bandwidth.set("down", 4096)
        (change,) = await tuning.set("limit.down", "2M")
        assert (change.applied, change.note) == (
            True,
            "the limit that was set holds until `p2pctl limit down default`",
        )
        assert peer.bandwidth.limit("down") == 4096

    in_swarm(tmp_path, work)


def test_the_quotas_of_a_tracker(tmp_path: Path) -> None:
    async def work() -> None:
        tuning, policy = make_tuning(tmp_path, "tracker"), Policy()
        register_tracker(tuning, policy)
        await tuning.set("quota.device_searches_per_s", "1")
        waits = [policy.take(b"device", "203.0.113.7", Kind.SEARCH, 0.0) for _ in range(10)]
        assert waits.index(1) < 5
        await tuning.set("quota.device_searches_per_s", "1000")
        assert policy.take(b"device", "203.0.113.7", Kind.SEARCH, 0.0) == 0
        await tuning.set("quota.network_entries", "10")
        assert not policy.room("203.0.113.7", 11)
        (change,) = await tuning.set("quota.device_entries", "10")
        assert not change.applied

    asyncio.run(work())


def test_other_trackers_while_it_runs(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        (tmp_path / "second").mkdir()
        async with Swarm(tmp_path / "second") as other:
            member = await swarm.peer("alice", [swarm.endpoint])
            peer = member.service
            await member.share("a.bin", b"x" * 1000)
            first = peer.trackers[0]
            tuning = make_tuning(member.home)
            register_peer(tuning, peer, lambda settings: list(settings.trackers))
            await tuning.set("peer.trackers", f"{swarm.endpoint},{other.endpoint},127.0.0.1:1")
            assert peer.trackers[0] is first
            await member.service.trackers[1].wait_published(peer.store.revision, 20.0)
            assert [tracker.state for tracker in peer.trackers[:2]] == ["connected", "connected"]
            await eventually(lambda: peer.trackers[2].state == "unreachable")
            waiting = asyncio.create_task(first.wait_published(10**6, 20.0))
            await asyncio.sleep(0)
            await tuning.set("peer.trackers", str(other.endpoint))
            # Who waited for the one that went is let go.
            assert await asyncio.wait_for(waiting, 10.0) is False
            assert [tracker.endpoint for tracker in peer.trackers] == [other.endpoint]
            with pytest.raises(Fault, match="no longer in the settings"):
                await first.request(None)
            assert [share.state for share in peer.finder.own(_reference("a.bin"))] == ["shared"]

    in_swarm(tmp_path, work)


def _reference(text: str) -> object:
    from protocol.control import parse_reference

    return parse_reference(text)
