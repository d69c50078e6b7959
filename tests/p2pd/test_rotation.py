"""p2pd/rotation.py: each step stored before it holds, ends by time and by hand, and the way back."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from p2pd import rotation as rotation_module
from p2pd.net.keyring import Keyring, Ring
from p2pd.rotation import SEEN_FILE, Rotation, Wish
from p2pd.secrets import NETWORK_FILE, load_ring, store_ring
from protocol.errors import Fault
from protocol.keys import NetworkSecret, is_invite
from protocol.limits import ROTATION_SECONDS, ROTATION_SECONDS_MAX

NET = "test"
OLD = NetworkSecret(b"o" * 32, NET, 0)
PASSWORD = "another long password"
ALICE = bytes(20)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key derivation without its cost."""

    def derive(password: str, network: str, epoch: int) -> bytes:
        return hashlib.sha256(f"{password} {network} {epoch}".encode()).digest()

    monkeypatch.setattr(rotation_module, "derive_network_key", derive)


class Home:
    """A home with keys, its clock, and the rotation in it; `again` is the next start of the daemon."""

    def __init__(self, directory: Path, ring: Ring | None = None) -> None:
        self.directory = directory
        self.now = 1000.0
        self.changes = 0
        store_ring(directory, ring or Ring(OLD))
        self.again()

    def again(self) -> None:
        ring = load_ring(self.directory, NET)
        assert ring is not None
        self.keyring = Keyring(ring, lambda: self.now)
        self.rotation = Rotation(self.directory, self.keyring, self._changed)
        self.rotation.start()

    def _changed(self) -> None:
        self.changes += 1

    @property
    def stored(self) -> Ring:
        ring = load_ring(self.directory, NET)
        assert ring is not None
        return ring


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def refused(home: Home, wish: Wish, code: str) -> Fault:
    before = home.stored
    with pytest.raises(Fault) as caught:
        asyncio.run(home.rotation.begin(wish))
    assert caught.value.code == code
    assert home.stored == before == home.keyring.ring
    return caught.value


def test_it_begins_with_both_keys_and_the_next_epoch(home: Home) -> None:
    report = asyncio.run(home.rotation.begin(Wish(PASSWORD)))
    assert report.changed
    assert report.invite is None
    assert home.changes == 1
    assert home.stored == home.keyring.ring == report.ring
    assert (report.ring.previous, report.ring.current.epoch) == (OLD, 1)
    assert report.ring.ends_at == 1000.0 + ROTATION_SECONDS
    assert PASSWORD.encode() not in (home.directory / NETWORK_FILE).read_bytes()


def test_an_invite_is_made_and_told_once(home: Home) -> None:
    report = asyncio.run(home.rotation.begin(Wish(None)))
    assert report.invite is not None
    assert is_invite(report.invite)
    assert home.rotation.report().invite is None
    # who is given it finds the same key
    other = Keyring(Ring(OLD))
    rotation = Rotation(home.directory, other, lambda: None)
    assert asyncio.run(rotation.begin(Wish(report.invite))).ring.current == home.keyring.current


def test_the_same_wish_again_changes_nothing_and_another_is_refused(home: Home) -> None:
    async def work() -> None:
        await home.rotation.begin(Wish(PASSWORD))
        ring = home.keyring.ring
        home.now += 5
        assert not (await home.rotation.begin(Wish(PASSWORD))).changed
        assert home.keyring.ring == ring

    run(work)
    assert "--finish" in refused(home, Wish("yet another password"), "refused").hint
    refused(home, Wish(None), "refused")


def test_no_overlap_ends_the_older_key_at_once(home: Home) -> None:
    ring = asyncio.run(home.rotation.begin(Wish(PASSWORD, 0.0))).ring
    assert ring.previous is None
    assert home.stored == ring
    assert not home.keyring.holds(OLD)


@pytest.mark.parametrize(
    "wish",
    [
        Wish("short"),
        Wish(""),
        Wish("p2p1-mistyped"),
        Wish(PASSWORD, ROTATION_SECONDS_MAX + 1),
        Wish(PASSWORD, -1.0),
        Wish(PASSWORD, epoch=0),
        Wish(PASSWORD, epoch=256),
    ],
)
def test_what_makes_no_sense_changes_nothing(home: Home, wish: Wish) -> None:
    refused(home, wish, "usage")


def test_the_secret_in_use_is_no_new_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    asyncio.run(home.rotation.begin(Wish(PASSWORD, 0.0)))
    refused(home, Wish(PASSWORD), "usage")


def test_epochs_end(tmp_path: Path) -> None:
    home = Home(tmp_path, Ring(NetworkSecret(b"o" * 32, NET, 254)))
    asyncio.run(home.rotation.begin(Wish(PASSWORD, 0.0)))
    assert home.keyring.current.epoch == 255
    refused(home, Wish("yet another password"), "refused")


def test_who_missed_one_goes_to_a_later_epoch(home: Home) -> None:
    assert asyncio.run(home.rotation.begin(Wish(PASSWORD, epoch=7))).ring.current.epoch == 7


def test_a_weak_password_on_demand(home: Home) -> None:
    assert asyncio.run(home.rotation.begin(Wish("short", allow_weak=True))).changed


def test_finished_and_aborted_by_hand(home: Home) -> None:
    async def work() -> None:
        assert not (await home.rotation.finish()).changed
        assert not (await home.rotation.abort()).changed
        new = (await home.rotation.begin(Wish(PASSWORD))).ring.current
        home.keyring.met(ALICE, OLD, "h")
        report = await home.rotation.abort()
        assert report.changed
        assert [seen.on_old for seen in report.seen] == [True]
        assert (home.stored.current, home.stored.previous) == (OLD, None)
        assert (await home.rotation.begin(Wish(PASSWORD))).ring.current == new
        await home.rotation.finish()
        assert (home.stored.current, home.stored.previous) == (new, None)

    run(work)
    assert home.keyring.accepted() == (home.stored.current,)
    assert home.changes == 4


def test_it_ends_by_itself(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation_module, "LOOK_SECONDS", 0.001)
    ended = asyncio.Event()

    async def work() -> None:
        task = asyncio.create_task(home.rotation.run())
        await home.rotation.begin(Wish(PASSWORD, 10.0))
        monkeypatch.setattr(home.rotation, "_on_change", ended.set)
        home.now += 10.0
        await asyncio.wait_for(ended.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(work)
    assert home.stored.previous is None
    assert home.stored.retired[0][0] == 0


def test_what_was_due_while_the_daemon_was_down_ends_at_the_start(home: Home) -> None:
    asyncio.run(home.rotation.begin(Wish(PASSWORD, 10.0)))
    home.now += 11.0
    home.again()
    assert home.stored.previous is None
    assert home.keyring.accepted() == (home.keyring.current,)


def test_a_restart_in_the_middle_goes_on(home: Home) -> None:
    ring = asyncio.run(home.rotation.begin(Wish(PASSWORD, 10.0))).ring
    home.again()
    assert home.keyring.ring == ring
    assert len(home.keyring.accepted()) == 2


def test_what_a_kill_left_half_written_is_removed(home: Home) -> None:
    left = home.directory / f".{NETWORK_FILE}.4711"
    left.write_bytes(b"keys")
    home.again()
    assert not left.exists()


def test_who_was_seen_is_saved_and_found_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation_module, "LOOK_SECONDS", 0.001)

    async def work() -> None:
        await home.rotation.begin(Wish(PASSWORD))
        home.keyring.met(ALICE, home.keyring.current, "h", "h:1")
        task = asyncio.create_task(home.rotation.run())
        deadline = asyncio.get_running_loop().time() + 10
        while not (home.directory / SEEN_FILE).exists():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(work)
    assert (home.directory / SEEN_FILE).stat().st_mode & 0o777 == 0o600
    home.again()
    assert not home.keyring.admits(ALICE, OLD)
    (home.directory / SEEN_FILE).write_text('{"format": 1, "key": "x", "devices": 5}')
    home.again()  # another rotation's, or damaged: nobody was seen
    (home.directory / SEEN_FILE).write_text("{")
    home.again()
    assert home.keyring.sightings() == []
    asyncio.run(home.rotation.finish())
    assert not (home.directory / SEEN_FILE).exists()


@pytest.mark.parametrize("step", ["begin", "finish", "abort"])
def test_a_full_disk_leaves_the_state_before(home: Home, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    if step != "begin":
        asyncio.run(home.rotation.begin(Wish(PASSWORD)))
    before = home.keyring.ring

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Fault) as caught:
        asyncio.run(
            home.rotation.begin(Wish(PASSWORD)) if step == "begin" else getattr(home.rotation, step)()
        )
    assert caught.value.code == "storage"
    monkeypatch.undo()
    assert home.keyring.ring == before == home.stored
