"""p2pd/control/checks_swarm.py: what a peer is told of its trackers, and of itself by them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2pd.control import checks_swarm as checks
from p2pd.control.diagnosis import FAIL, OK, WARN, Finding, Patient
from p2pd.net.addresses import Endpoint
from p2pd.net.keyring import Ring
from p2pd.peer import trackers as trackers_module
from protocol.keys import NetworkSecret
from tests.fakes.reactors import HOST
from tests.fakes.swarm import SECRET, Member, Swarm, eventually
from tests.p2pd.control.test_checks_machine import make

NEW = NetworkSecret(bytes(32), SECRET.network, 1)
Look = Callable[[Patient], Awaitable[list[Finding]]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between attempts."""
    monkeypatch.setattr(trackers_module, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(trackers_module, "BACKOFF_MAX", 0.05)


def run(directory: Path, work: Callable[[Swarm, Member, Patient], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Swarm(directory) as swarm:
            alice = await swarm.peer("alice")
            await work(swarm, alice, make(directory / "h", alice.keyring, alice))

    asyncio.run(main())


async def only(look: Look, patient: Patient) -> Finding:
    (finding,) = await look(patient)
    return finding


def test_all_is_well(tmp_path: Path) -> None:
    async def work(swarm: Swarm, alice: Member, patient: Patient) -> None:
        for look in (
            checks.reachable_trackers,
            checks.same_key,
            checks.clock,
            checks.announced,
            checks.reachable,
        ):
            finding = await only(look, patient)
            assert finding.status == OK, finding
        assert f"{HOST}:{alice.service.router.port}" in (await only(checks.reachable, patient)).message

    run(tmp_path, work)


def test_a_tracker_that_is_gone(tmp_path: Path) -> None:
    async def work(swarm: Swarm, alice: Member, patient: Patient) -> None:
        await swarm.tracker_down()
        await eventually(lambda: alice.service.trackers[0].state == "unreachable")
        finding = await only(checks.reachable_trackers, patient)
        assert (finding.status, "firewall" in finding.hint) == (FAIL, True)
        for look in (checks.same_key, checks.clock, checks.announced, checks.reachable):
            assert await look(patient) == []

    run(tmp_path, work)


def test_a_tracker_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ASK_SECONDS", 0.2)

    async def work(swarm: Swarm, alice: Member, patient: Patient) -> None:
        gate = threading.Event()
        assert swarm.tracker_reactor is not None
        swarm.tracker_reactor.call(gate.wait)
        try:
            finding = await only(checks.reachable_trackers, patient)
        finally:
            gate.set()
        assert (finding.status, "did not answer" in finding.message) == (FAIL, True)

    run(tmp_path, work)


def test_a_tracker_with_another_key(tmp_path: Path) -> None:
    async def work(swarm: Swarm, alice: Member, patient: Patient) -> None:
        await swarm.tracker_down()
        await swarm.tracker_up(NetworkSecret(bytes(32), SECRET.network, 0))
        await eventually(lambda: alice.service.trackers[0].state == "wrong_password")
        assert (await only(checks.reachable_trackers, patient)).status == OK
        finding = await only(checks.same_key, patient)
        assert (finding.status, "another password" in finding.message) == (FAIL, True)

    run(tmp_path, work)


def test_a_tracker_whose_password_was_replaced(tmp_path: Path) -> None:
    async def work(swarm: Swarm, alice: Member, patient: Patient) -> None:
        await swarm.tracker_down()
        await eventually(lambda: not alice.service.trackers[0].connected)
        await swarm.tracker_up(Ring(SECRET).rotated(NEW, 0.0, 4e9))
        await eventually(lambda: alice.service.trackers[0].connected)
        finding = await only(checks.same_key, patient)
        assert (finding.status, "epoch 1" in finding.message, "2096-" in finding.message) == (
            WARN,
            True,
            True,
        )
        assert "p2pctl rotate" in finding.hint

    run(tmp_path, work)


def test_clocks_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(swarm: Swarm, alice: Member, patient: Patient) -> None:
        real = time.time
        for ahead, status, word in ((90.0, WARN, "ahead"), (-90.0, WARN, "behind"), (9000.0, FAIL, "ahead")):
            # only here: the tracker is in this process too
            monkeypatch.setattr(checks, "time", SimpleNamespace(time=lambda ahead=ahead: real() + ahead))
            finding = await only(checks.clock, patient)
            assert (finding.status, word in finding.message) == (status, True), finding

    run(tmp_path, work)


def test_nobody_at_the_announced_port(tmp_path: Path) -> None:
    async def work(swarm: Swarm, alice: Member, patient: Patient) -> None:
        alice.service._announce = Endpoint(HOST, 1024)
        alice.service.trackers[0].renew()
        await eventually(lambda: alice.service.trackers[0].connected)
        finding = await only(checks.reachable, patient)
        assert finding.status == FAIL
        assert f"nobody answers at {HOST}:1024" in finding.message
        assert "firewall" in finding.hint
        # another peer answers there
        bob = await swarm.peer("bob")
        alice.service._announce = Endpoint(HOST, bob.service.router.port)
        alice.service.trackers[0].renew()
        await eventually(lambda: alice.service.trackers[0].connected)
        assert "something else" in (await only(checks.reachable, patient)).message

    run(tmp_path, work)


def test_asked_too_often_it_says_so_at_once(tmp_path: Path) -> None:
    async def work(swarm: Swarm, alice: Member, patient: Patient) -> None:
        findings = [await only(checks.reachable, patient) for _ in range(5)]
        assert [finding.status for finding in findings] == [OK, OK, OK, WARN, WARN]
        assert "try again in" in findings[-1].hint

    run(tmp_path, work)


def test_an_older_tracker_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(swarm: Swarm, alice: Member, patient: Patient) -> None:
        monkeypatch.setattr(alice.service.trackers[0]._link, "features", 0)
        assert (await only(checks.same_key, patient)).status == OK
        for look in (checks.clock, checks.reachable):
            finding = await only(look, patient)
            assert (finding.status, "older" in finding.message) == (WARN, True)

    run(tmp_path, work)


def test_an_announcement_that_is_long_ago(tmp_path: Path) -> None:
    async def work(swarm: Swarm, alice: Member, patient: Patient) -> None:
        tracker = alice.service.trackers[0]
        assert tracker.announced_at is not None
        for ago, status in ((700.0, WARN), (1000.0, FAIL)):
            tracker.announced_at = asyncio.get_running_loop().time() - ago
            assert (await only(checks.announced, patient)).status == status

    run(tmp_path, work)
