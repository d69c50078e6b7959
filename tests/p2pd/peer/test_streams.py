"""p2pd/peer/streams.py: how many at a time, what is remembered, what is left of a run that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd.peer import streams as streams_module
from p2pd.peer.streams import MAX_STREAMS
from protocol.errors import Fault
from protocol.limits import MIB
from tests.fakes.swarm import Swarm, in_swarm, manifest_of, octets
from tests.p2pd.peer.test_stream import Reader, begin, over

DATA = octets(MIB + 5)
MANIFEST = manifest_of(DATA)


def test_there_is_a_most_at_a_time(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        bob = await swarm.peer("bob")
        streams = [begin(bob) for _ in range(MAX_STREAMS)]
        assert len({stream.path for stream in streams}) == MAX_STREAMS
        with pytest.raises(Fault) as caught:
            begin(bob)
        assert caught.value.code == "refused"
        await streams[0].stop()
        assert streams[0].state == "stopped"
        begin(bob)

    in_swarm(tmp_path, work)


def test_ended_ones_are_remembered_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "KEPT", 1)

    async def work(swarm: Swarm) -> None:
        alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
        await alice.share("a.bin", DATA)
        streams = bob.service.streams
        for number in (1, 2, 3):
            stream = begin(bob, MANIFEST)
            assert stream.name == f"s-{number}"
            assert await Reader(stream).rest() == DATA
            assert await over(stream) == "done"
        begin(bob)
        assert streams.get("s-3").state == "done"
        with pytest.raises(Fault) as caught:
            streams.get("s-1")
        assert caught.value.code == "not_found"
        assert streams.received == 3 * len(DATA)

    in_swarm(tmp_path, work)


def test_sockets_of_a_run_that_was_killed_are_removed(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        home = tmp_path / "bob" / "home"
        home.mkdir(parents=True)
        (home / "s-7.sock").touch()
        (home / "other.sock").touch()
        await swarm.peer("bob")
        assert sorted(path.name for path in home.glob("*.sock")) == ["other.sock"]

    in_swarm(tmp_path, work)
