"""p2pd/control/checks_machine.py: each check in good and in bad circumstances."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2pd.config import load
from p2pd.control import checks_machine as checks
from p2pd.control.diagnosis import FAIL, OK, WARN, Finding, Patient
from p2pd.net.addresses import Endpoint
from p2pd.net.keyring import Keyring, Ring
from p2pd.secrets import NETWORK_FILE, store_ring
from protocol.keys import NetworkSecret
from tests.fakes.reactors import HOST
from tests.fakes.swarm import SECRET, Member, Swarm, manifest_of, octets

NEW = NetworkSecret(bytes(32), SECRET.network, 1)


def make(home: Path, keyring: Keyring | None = None, member: Member | None = None, **flags: str) -> Patient:
    home.mkdir(exist_ok=True, mode=0o700)
    home.chmod(0o700)
    given = {"daemon.home": str(home), **{name.replace("__", "."): value for name, value in flags.items()}}
    settings = load("peer", given, {})
    return Patient(settings, keyring or Keyring(SECRET), member.service if member else None)


def only(look: Callable[[Patient], Awaitable[list[Finding]]], patient: Patient) -> Finding:
    (finding,) = asyncio.run(look(patient))  # type: ignore[arg-type]
    return finding


def test_one_key(tmp_path: Path) -> None:
    finding = only(checks.key, make(tmp_path / "h"))
    assert (finding.status, SECRET.check_value in finding.message) == (OK, True)


def test_two_keys_and_who_uses_the_older(tmp_path: Path) -> None:
    keyring = Keyring(Ring(SECRET).rotated(NEW, 0.0, 4e9), lambda: 5.0)
    patient = make(tmp_path / "h", keyring)
    assert [finding.status for finding in asyncio.run(checks.key(patient))] == [OK, OK]
    keyring.met(bytes(20), SECRET, "h")
    _, finding = asyncio.run(checks.key(patient))
    assert (finding.status, "1 device" in finding.message) == (WARN, True)
    assert "rotate --status" in finding.hint


def test_a_home(tmp_path: Path) -> None:
    patient = make(tmp_path / "my home")
    store_ring(patient.settings.home, Ring(SECRET))
    assert only(checks.home, patient).status == OK
    (patient.settings.home / NETWORK_FILE).chmod(0o644)
    finding = only(checks.home, patient)
    assert (finding.status, finding.hint) == (FAIL, f"chmod 600 '{tmp_path}/my home/network.key'")
    (patient.settings.home / NETWORK_FILE).chmod(0o600)
    patient.settings.home.chmod(0o755)
    assert only(checks.home, patient).hint == f"chmod 700 '{tmp_path}/my home'"


def test_a_home_that_is_gone(tmp_path: Path) -> None:
    patient = make(tmp_path / "h")
    patient.settings.home.rmdir()
    assert only(checks.home, patient).status == FAIL


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    patient = make(tmp_path / "h")
    patient.settings.home.chmod(0o500)
    assert "cannot be written" in only(checks.home, patient).message


def test_shares_and_downloads(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            patient = make(tmp_path / "h", member=alice)
            assert (await checks.shares(patient))[0].status == OK
            assert (await checks.downloads(patient))[0].message == "no download is under way"
            for number in range(5):
                await alice.share(f"{number}.bin", octets(10, number))
            assert "5 shared files" in (await checks.shares(patient))[0].message
            (alice.files / "0.bin").unlink()
            (alice.files / "1.bin").unlink()
            (alice.files / "1.bin").mkdir()
            os.mkfifo(alice.files / "pipe")
            (alice.files / "pipe").replace(alice.files / "2.bin")
            (finding,) = await checks.shares(patient)
            assert finding.status == FAIL
            assert finding.message.startswith("3 of 5 shared cannot be read: ")
            assert "not a file any more" in finding.message
            target = alice.files
            row = await alice.begin(manifest_of(b"nobody has this"), file="x")
            assert "1 directory of downloads" in (await checks.downloads(patient))[0].message
            target.rename(tmp_path / "away")
            (finding,) = await checks.downloads(patient)
            assert (finding.status, "is not there" in finding.message) == (FAIL, True)
            (tmp_path / "away").rename(target)
            await alice.service.downloads.cancel(row.row.transfer_id)

    asyncio.run(main())


def test_many_shares_are_looked_at_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LOOK_SECONDS", -1.0)

    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            await alice.share("a.bin", octets(10))
            (finding,) = await checks.shares(make(tmp_path / "h", member=alice))
            assert finding == Finding(OK, "the first 0 of 1 shared can be read")

    asyncio.run(main())


@pytest.mark.parametrize(("floor", "status"), [("1", OK), ("3G", WARN), ("9T", FAIL)])
def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, floor: str, status: str) -> None:
    class Usage:
        free = 5 * 2**30

    monkeypatch.setattr(checks.shutil, "disk_usage", lambda place: Usage)
    finding = only(checks.space, make(tmp_path / "h", peer__free_floor=floor))
    assert finding.status == status
    assert "5.0 GiB are free" in finding.message


@pytest.mark.parametrize(
    ("soft", "used", "status"),
    [(8192, 50, OK), (1024, 50, WARN), (8192, 8000, FAIL), (resource.RLIM_INFINITY, 50, OK)],
)
def test_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soft: int, used: int, status: str
) -> None:
    monkeypatch.setattr(checks.resource, "getrlimit", lambda which: (soft, soft))
    monkeypatch.setattr(checks.os, "listdir", lambda path: ["x"] * used)
    assert only(checks.descriptors, make(tmp_path / "h")).status == status


@pytest.mark.parametrize(
    ("native", "machine", "flags", "status", "words"),
    [
        (True, "x86_64", "aes sha_ni", OK, "several at a time"),
        (False, "x86_64", "flags : ssse3 sse4_1 aes sha_ni", WARN, "one at a time"),
        (False, "x86_64", "flags : ssse3 sse4_1 aes", OK, "AES and SHA"),
        (False, "aarch64", "Features : aes sha2", OK, "AES and SHA"),
        (False, "x86_64", None, OK, "AES and SHA"),
    ],
)
def test_sealing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    native: bool,
    machine: str,
    flags: str | None,
    status: str,
    words: str,
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(flags)
    monkeypatch.setattr(checks, "CPUINFO", cpuinfo)
    monkeypatch.setattr(checks.lanes, "native", (print, print) if native else None)
    monkeypatch.setattr(checks.os, "uname", lambda: SimpleNamespace(machine=machine))
    finding = only(checks.sealing, make(tmp_path / "h"))
    assert finding.status == status
    assert words in finding.message
    assert ("compiler" in finding.hint) == (status == WARN)


def test_listeners(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            far = await swarm.peer("far", [Endpoint("192.0.2.7", 9000)], connected=False)
            port = alice.service.router.port
            for member, host, status in ((alice, HOST, OK), (far, HOST, WARN), (far, "", OK)):
                patient = make(tmp_path / "h", member=member)
                patient.listening["peer"] = Endpoint(host, port)
                assert (await checks.listening(patient))[0].status == status, (member.name, host)
            await swarm.leave(alice)
            (finding,) = await checks.listening(patient)
            assert (finding.status, "takes no connection" in finding.message) == (FAIL, True)

    asyncio.run(main())


def test_a_tracker_listens_for_anybody(tmp_path: Path) -> None:
    patient = make(tmp_path / "h")
    with socket.create_server((HOST, 0)) as server:
        patient.listening["tracker"] = Endpoint(HOST, server.getsockname()[1])
        assert only(checks.listening, patient).status == OK
