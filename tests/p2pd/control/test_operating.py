"""p2pd/control/operating.py: bans of a peer, and a daemon that is no tracker. The tracker's side: tests/e2e/test_bans.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.ids import device_text
from protocol.limits import CONTROL_PAGE
from tests.fakes.asker import Asker, run
from tests.fakes.swarm import Member


def test_a_peer_bans_lists_and_unbans(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        whom = device_text(b.service.own_id)
        banned = await alice("ban", subject=whom[:6], for_s=100.0, reason=" too\n much ")
        assert (banned["subject"], banned["kind"], banned["cause"]) == (whom, "device", "hand")
        assert (banned["reason"], banned["roles"]) == ("too much", ["peer"])
        assert 99 < banned["left_s"] <= 100
        network = await alice("ban", subject="10.1.2.3/8")
        assert (network["subject"], network["kind"], network["until_at"], network["left_s"]) == (
            "10.0.0.0/8",
            "network",
            None,
            None,
        )
        assert [item["subject"] for item in (await alice("bans"))["items"]] == sorted([whom, "10.0.0.0/8"])
        first = await alice("bans", limit=1)
        rest = await alice("bans", limit=CONTROL_PAGE, cursor=first["next"])
        assert len(first["items"]) == len(rest["items"]) == 1
        assert rest["next"] is None
        assert await alice("unban", subject=whom[:6]) == {"subject": whom, "kind": "device", "changed": True}
        assert not (await alice("unban", subject=whom))["changed"]
        assert (await alice.fault("unban", subject=whom[:6])).code == "not_found"

    run(tmp_path, work)


def test_what_cannot_be_banned(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        own = device_text(a.service.own_id)
        for subject, code in (
            (own, "usage"),
            ("nobody", "not_found"),
            ("!", "usage"),
            ("1.2.3.4/99", "usage"),
        ):
            assert (await alice.fault("ban", subject=subject)).code == code, subject
        assert (await alice.fault("ban", subject="10.0.0.1", reason="ä" * 100)).code == "usage"
        assert (await alice.fault("ban", subject="10.0.0.1", for_s=0.0)).code == "usage"
        assert (await alice("bans"))["items"] == []

    run(tmp_path, work)


@pytest.mark.parametrize("method", ["tracker_status", "tracker_peers", "tracker_files", "tracker_expire"])
def test_only_a_tracker_answers_for_a_tracker(tmp_path: Path, method: str) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        fault = await alice.fault(method)
        assert (fault.code, bool(fault.hint)) == ("refused", True)

    run(tmp_path, work)
