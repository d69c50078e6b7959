"""p2pd/control/limiting.py: the method `limit`."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd.control.limiting import change_limit
from p2pd.control.params import Limit
from protocol.errors import Fault
from tests.fakes.swarm import Member, Swarm, eventually, in_swarm


def shown(member: Member, **asked: object) -> list[tuple[str, int | None, str]]:
    answer = change_limit(Limit(**asked), lambda: member.service.bandwidth)  # type: ignore[arg-type]
    return [(item["direction"], item["limit_bytes_per_s"], item["origin"]) for item in answer["items"]]


def test_limits_are_shown_set_and_given_back(tmp_path: Path) -> None:
    async def work(swarm: Swarm) -> None:
        alice = await swarm.peer("alice")
        service = alice.service
        assert shown(alice) == [("up", None, "settings"), ("down", None, "settings")]
        assert shown(alice, direction="up", limit_bytes_per_s=5000) == [("up", 5000, "limit")]
        await eventually(lambda: service.uploads.queue.limit == 5000)
        assert shown(alice, limit_bytes_per_s=7000) == [("up", 7000, "limit"), ("down", 7000, "limit")]
        await eventually(lambda: service.links.asking.bucket.rate == 7000)
        assert shown(alice, direction="down", limit_bytes_per_s=0) == [("down", None, "limit")]
        assert shown(alice, default=True) == [("up", None, "settings"), ("down", None, "settings")]
        await eventually(lambda: service.uploads.queue.limit == 0)

    in_swarm(tmp_path, work)


def test_what_makes_no_sense_is_refused() -> None:
    def nowhere() -> None:
        raise AssertionError("it must not get there")

    for asked in (Limit(limit_bytes_per_s=5000, default=True), Limit(limit_bytes_per_s=1023)):
        with pytest.raises(Fault) as caught:
            change_limit(asked, nowhere)  # type: ignore[arg-type]
        assert caught.value.code == "usage"
