"""One limited seeder and several downloaders: they feed each other, and the seeder sends far less than a copy for each."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.processes import Swarm, make_file, sha256

MIB = 1024 * 1024
SIZE = 24 * MIB
LEECHERS = 4


def test_downloaders_feed_each_other(swarm: Swarm, tmp_path: Path) -> None:
    tracker = swarm.tracker()
    seeder = swarm.peer("seeder", tracker)
    leechers = [swarm.peer(f"leecher{number}", tracker) for number in range(LEECHERS)]
    source = make_file(tmp_path / "a.bin", SIZE)
    (item,) = seeder.ok("add", source)
    seeder.ok("limit", "up", "4M")
    for leecher in leechers:
        leecher.connected()
    places = [swarm.folder(f"place{number}") for number in range(LEECHERS)]
    transfers = [
        leecher.begin(item["id"], place, file="b.bin")
        for leecher, place in zip(leechers, places, strict=True)
    ]
    for leecher, transfer, place in zip(leechers, transfers, places, strict=True):
        leecher.finish(transfer, 90.0)
        assert sha256(place / "b.bin") == sha256(source)
    given = [daemon.status()["peer"]["uploaded_bytes"] for daemon in leechers]
    # one that had little of the cores meanwhile may have had nothing that the others lacked
    assert sum(map(bool, given)) > 1, "downloaders gave something to each other"
    sent = seeder.status()["peer"]["uploaded_bytes"]
    assert SIZE <= sent < (LEECHERS - 1) * SIZE
    assert sent + sum(given) >= LEECHERS * SIZE


def test_a_downloader_that_is_killed_goes_on_from_the_others(swarm: Swarm, tmp_path: Path) -> None:
    tracker = swarm.tracker()
    seeder = swarm.peer("seeder", tracker)
    leechers = [swarm.peer(f"leecher{number}", tracker) for number in range(3)]
    source = make_file(tmp_path / "a.bin", SIZE)
    (item,) = seeder.ok("add", source)
    seeder.ok("limit", "up", "4M")
    for leecher in leechers:
        leecher.connected()
    places = [swarm.folder(f"place{number}") for number in range(3)]
    transfers = [
        leecher.begin(item["id"], place, file="b.bin")
        for leecher, place in zip(leechers, places, strict=True)
    ]
    victim = leechers[1]
    victim.received(transfers[1], 4 * MIB)
    victim.kill()
    for number in (0, 2):
        leechers[number].finish(transfers[number], 90.0)
    # Nobody but the downloaders is left, and all that one of them misses is with the others.
    seeder.end()
    victim.start()
    victim.finish(transfers[1], 90.0)
    assert victim.transfer(transfers[1])["resumed_bytes"] > 0
    for place in places:
        assert sha256(place / "b.bin") == sha256(source)
