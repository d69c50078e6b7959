"""Limits of bandwidth between real daemons: they hold back, are changed while a transfer runs, and outlive a restart."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until

KIB = 1024
SIZE = 3 * 1024 * KIB


@pytest.fixture
def pair(swarm: Swarm) -> tuple[Daemon, Daemon, str, Path]:
    """A seeder, a downloader, the id of a file of 3 MiB, and the file."""
    tracker = swarm.tracker()
    seeder, leecher = swarm.peer("seeder", tracker), swarm.peer("leecher", tracker)
    source = make_file(swarm.directory / "a.bin", SIZE)
    (item,) = seeder.ok("add", source)
    leecher.connected()
    return seeder, leecher, str(item["id"]), source


def octets(daemon: Daemon, key: str) -> int:
    number: int = daemon.status()["peer"][key]
    return number


@pytest.mark.parametrize("way", ["up", "down", "own"])
def test_a_limit_holds_back_and_is_lifted(
    pair: tuple[Daemon, Daemon, str, Path], swarm: Swarm, way: str
) -> None:
    seeder, leecher, content, source = pair
    limited = seeder if way == "up" else leecher
    rate = 128 * KIB
    more = {"limit_bytes_per_s": rate} if way == "own" else {}
    if way != "own":
        (flow,) = limited.ok("limit", way, "128K")
        assert (flow["limit_bytes_per_s"], flow["origin"]) == (rate, "limit")
    place = swarm.folder("place")
    began = time.monotonic()
    transfer = leecher.begin(content, place, file="b.bin", **more)
    until(lambda: octets(leecher, "arrived_bytes") >= 2 * rate, 30, "two seconds' worth have come")
    seen = octets(leecher, "arrived_bytes")
    assert seen <= rate * (time.monotonic() - began + 0.3) + 64 * KIB
    assert leecher.transfer(transfer)["limit_bytes_per_s"] == (rate if way == "own" else None)
    if way == "own":
        leecher.call("download", ref=content, directory=str(place), file="b.bin", limit_bytes_per_s=0)
    else:
        limited.ok("limit", way, "off")
    leecher.finish(transfer)
    assert sha256(place / "b.bin") == sha256(source)


def test_what_was_set_outlives_a_restart(pair: tuple[Daemon, Daemon, str, Path]) -> None:
    seeder, *_ = pair
    seeder.ok("limit", "up", "5M")
    seeder.end()
    seeder.start("--limit-up", "7M", "--limit-down", "9M")
    up, down = seeder.ok("limit")
    assert (up["limit_bytes_per_s"], up["origin"]) == (5 * 1024 * KIB, "limit")
    assert (down["limit_bytes_per_s"], down["origin"]) == (9 * 1024 * KIB, "settings")
    up, _ = seeder.ok("limit", "default")
    assert (up["limit_bytes_per_s"], up["origin"]) == (7 * 1024 * KIB, "settings")
    assert seeder.status()["limits"] == {
        "upload_bytes_per_s": 7 * 1024 * KIB,
        "download_bytes_per_s": 9 * 1024 * KIB,
    }
