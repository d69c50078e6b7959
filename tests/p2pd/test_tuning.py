"""p2pd.tuning: what a change makes hold, what it leaves waiting, and what a mistake leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from p2pd import overlay
from p2pd.config import Settings
from p2pd.tuning import Change, Current, Tuning
from protocol.errors import Fault
from tests.fakes.supervised import make_tuning


class Bench:
    """Settings of a home, and a part of the daemon that notes what it was given."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.file = home / "p2pd.toml"
        self.home = home
        self.tuning = make_tuning(home, environ=environ)
        self.given: list[int] = []
        self.told: list[list[Change]] = []
        self.tuning.told = self.told.append
        self.tuning.on(self._apply, "peer.max_downloads", "peer.free_floor")

    def _apply(self, settings: Settings) -> str:
        self.given.append(settings.max_downloads)
        return "noted"

    def write(self, text: str) -> None:
        self.file.write_text(text)


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def test_a_reload_applies_what_is_live_and_keeps_what_is_not(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        bench.write("[peer]\nmax_downloads = 3\nfree_floor = '1M'\n[daemon]\nnice = 7\n")
        changes = {change.key: change for change in await bench.tuning.reload()}
        assert set(changes) == {"peer.max_downloads", "peer.free_floor", "daemon.nice"}
        where = f"{bench.file}:2"
        assert changes["peer.max_downloads"] == Change(
            "peer.max_downloads", 8, 3, "file", where, True, "noted"
        )
        assert not changes["daemon.nice"].applied
        assert bench.given == [3]
        settings = bench.tuning.settings
        assert (settings.max_downloads, settings.free_floor, settings.nice) == (3, 1 << 20, 10)
        nice = bench.tuning.current("daemon.nice")
        assert nice == Current("daemon.nice", 7, 10, "file", f"{bench.file}:5")
        assert nice.pending
        assert not bench.tuning.current("peer.max_downloads").pending
        # What waits is told again each time, what holds is not.
        assert [change.key for change in await bench.tuning.reload()] == ["daemon.nice"]
        assert bench.given == [3]
        assert len(bench.told) == 2

    run(work)


@pytest.mark.parametrize(
    "text",
    [
        "[peer]\nmax_downloads = 3\nlisten = 'x:y'\n",
        "[peer",
        "[peer]\nmax_downloads = 3\n[daemon]\nsocket = '/" + "s" * 200 + "'",
    ],
)
def test_a_mistake_changes_nothing(tmp_path: Path, text: str) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        bench.write(text)
        with pytest.raises(Fault) as caught:
            await bench.tuning.reload()
        assert caught.value.code == "usage"
        assert caught.value.details["problems"]
        assert bench.given == []
        assert bench.told == []
        assert bench.tuning.current("peer.max_downloads").value == 8

    run(work)


def test_a_peer_is_not_left_without_a_tracker(tmp_path: Path) -> None:
    async def work() -> None:
        file = tmp_path / "p2pd.toml"
        file.write_text("[peer]\ntrackers = ['a']\n")
        tuning = make_tuning(tmp_path, flags={"peer.with_tracker": None})
        file.write_text("")
        with pytest.raises(Fault, match="needs a tracker"):
            await tuning.reload()
        with pytest.raises(Fault, match="needs a tracker"):
            await tuning.set("peer.trackers", "")
        assert [endpoint.host for endpoint in tuning.settings.trackers] == ["a"]

    run(work)


def test_set_and_unset_are_kept_in_the_overlay(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        bench.write("[peer]\nmax_downloads = 3\n")
        await bench.tuning.reload()
        (change,) = await bench.tuning.set("peer.max_downloads", "5")
        assert (change.before, change.value, change.origin, change.applied) == (3, 5, "overlay", True)
        assert change.where == f"{overlay.path(tmp_path)}:5"
        assert bench.tuning.overlaid("peer.max_downloads") == 5
        assert make_tuning(tmp_path).settings.max_downloads == 5
        assert await bench.tuning.set("peer.max_downloads", "5") == []
        (waits,) = await bench.tuning.set("peer.listen", "7777")
        assert not waits.applied
        (back,) = await bench.tuning.unset("peer.max_downloads")
        assert (back.value, back.origin) == (3, "file")
        assert await bench.tuning.unset("peer.max_downloads") == []
        await bench.tuning.unset("peer.listen")
        assert not overlay.path(tmp_path).exists()
        assert bench.given == [3, 5, 3]
        assert bench.file.read_text() == "[peer]\nmax_downloads = 3\n"

    run(work)


def test_what_is_set_loses_to_the_environment(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path, P2PD_PEER_MAX_DOWNLOADS="4")
        assert await bench.tuning.set("peer.max_downloads", "5") == []
        current = bench.tuning.current("peer.max_downloads")
        assert (current.value, current.where) == (4, "P2PD_PEER_MAX_DOWNLOADS")

    run(work)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("peer.max_downlods", "5", "no setting"),
        ("peer.max_downloads", "many", "from 1 to 1000"),
        ("daemon.home", "/x", "where this is kept"),
        ("daemon.network", "\udcff", "UTF-8"),
        ("daemon.socket", "/" + "s" * 200, "over 107 octets"),
    ],
)
def test_what_cannot_be_set_leaves_no_trace(tmp_path: Path, key: str, value: str, words: str) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        with pytest.raises(Fault) as caught:
            await bench.tuning.set(key, value)
        assert caught.value.code == "usage"
        assert words in caught.value.message
        assert not overlay.path(tmp_path).exists()

    run(work)


def test_an_overlay_that_a_person_broke_is_told_and_kept(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        overlay.path(tmp_path).write_text("[peer]\nmax_downloads = 'x'\n")
        with pytest.raises(Fault) as caught:
            await bench.tuning.set("daemon.nice", "3")
        assert f"{overlay.path(tmp_path)}:2: " in caught.value.message
        assert "'x'" in overlay.path(tmp_path).read_text()

    run(work)


def test_what_a_person_wrote_into_the_overlay_holds_with_the_next_change(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        overlay.path(tmp_path).write_text("[peer]\nmax_downloads = 9\n")
        await bench.tuning.set("daemon.nice", "3")
        assert bench.given == [9]
        assert bench.tuning.overlaid("peer.max_downloads") == 9

    run(work)


def test_one_that_cannot_be_applied_keeps_its_old_value(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)

        async def refuse(settings: Settings) -> None:
            raise Fault("storage", "disk says no")

        bench.tuning.on(refuse, "log.file")
        bench.write("[log]\nfile = 'x.log'\n[peer]\nmax_downloads = 2\n")
        changes = {change.key: change for change in await bench.tuning.reload()}
        assert (changes["log.file"].applied, str(changes["log.file"].error)) == (False, "disk says no")
        assert changes["peer.max_downloads"].applied
        assert bench.tuning.settings.log_file is None
        assert bench.tuning.current("log.file").pending
        # Each reload tries again.
        assert [str(change.error) for change in await bench.tuning.reload()] == ["disk says no"]

    run(work)


def test_another_home_is_for_the_next_start(tmp_path: Path) -> None:
    async def work() -> None:
        home, other = tmp_path / "a", tmp_path / "b"
        home.mkdir()
        other.mkdir()
        file = home / "p2pd.toml"
        file.write_text(f"[daemon]\nhome = '{home}'\n")
        tuning = make_tuning(home, flags={"daemon.home": None})
        overlay.store(other, {"peer.max_downloads": 2})
        file.write_text(f"[daemon]\nhome = '{other}'\n")
        (change,) = await tuning.reload()
        assert (change.key, change.applied) == ("daemon.home", False)
        assert tuning.settings.home == home
        await tuning.set("peer.max_downloads", "3")
        assert overlay.path(home).exists()

    run(work)


def test_changes_come_one_after_the_other(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        keys = ["daemon.nice", "peer.max_downloads", "limit.up", "limit.down"]
        await asyncio.gather(*(bench.tuning.set(key, "2048" if "limit" in key else "2") for key in keys))
        again = make_tuning(tmp_path)
        assert [again.overlaid(key) for key in keys] == [2, 2, 2048, 2048]

    run(work)


def test_only_live_settings_have_somebody_to_apply_them(tmp_path: Path) -> None:
    tuning: Tuning = make_tuning(tmp_path)
    with pytest.raises(AssertionError, match=r"daemon\.nice"):
        tuning.on(lambda settings: None, "daemon.nice")
    assert tuning.registered == frozenset()
