"""p2pd/control/rotating.py: the steps as a client asks for them, and lists of devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd import rotation as rotation_module
from protocol.ids import device_text
from tests.fakes.asker import Asker, run
from tests.fakes.schemas import validate
from tests.fakes.swarm import SECRET, Member, eventually

PASSWORD = "another long password"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key derivation without its cost."""
    monkeypatch.setattr(rotation_module, "derive_network_key", lambda *of: repr(of).encode().ljust(32)[-32:])


def document(*items: object) -> dict[str, object]:
    return {"schema": "p2p.rotate/1", "items": list(items), "partial": False, "next": None, "warnings": []}


def test_begun_watched_and_finished(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        before = await alice("rotate")
        assert (before["state"], before["epoch"], before["changed"]) == ("none", 0, False)
        assert before["key_check"] == SECRET.check_value
        begun = await alice("rotate", action="begin", password=PASSWORD, overlap_s=60.0)
        assert (begun["state"], begun["epoch"], begun["previous_epoch"], begun["invite"]) == (
            "overlap",
            1,
            0,
            None,
        )
        # its tracker has not begun: seen with the older key, as soon as it is connected again
        await eventually(lambda: a.keyring.sightings())
        found = await alice("rotate_devices", all=True)
        assert [(item["state"], item["self"]) for item in found["items"]] == [("old", False)]
        validate("rotate", document(begun, *found["items"]))
        assert (await alice("rotate"))["devices_old"] == 1
        ended = await alice("rotate", action="finish")
        assert (ended["state"], ended["changed"], ended["previous_epoch"], ended["ends_at"]) == (
            "none", True, None, None,
        )  # fmt: skip
        assert (await alice("rotate_devices"))["items"] == []
        assert (await bob("rotate", action="abort"))["changed"] is False

    run(tmp_path, work)


def test_pages_of_devices(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await alice("rotate", action="begin", invite=True)
        new = a.keyring.current
        for number in range(5):
            a.keyring.met(bytes([200 + number]) * 20, new if number == 2 else SECRET, "10.0.0.1")
        a.keyring.met(a.service.own_id, new, "127.0.0.1")
        names, cursor = [], None
        while True:
            answer = await alice("rotate_devices", all=True, limit=2, cursor=cursor)
            names += [item["device_id"] for item in answer["items"]]
            if (cursor := answer["next"]) is None:
                break
        assert [device_text(bytes([200 + n]) * 20) for n in range(5)] == names[-5:]
        own = [item for item in (await alice("rotate_devices", all=True))["items"] if item["self"]]
        assert [(item["state"], item["device_id"]) for item in own] == [
            ("new", device_text(a.service.own_id))
        ]
        assert len((await alice("rotate_devices"))["items"]) == len(names) - 2
        assert (await alice.fault("rotate_devices", cursor="x")).code == "usage"

    run(tmp_path, work)


def test_what_makes_no_sense(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        for params in (
            {"action": "begin"},
            {"action": "begin", "password": PASSWORD, "invite": True},
            {"action": "begin", "password": "short"},
            {"action": "finish", "password": PASSWORD},
            {"action": "status", "invite": True},
            {"action": "sideways"},
            {"action": "begin", "password": PASSWORD, "overlap_s": -1.0},
            {"action": "begin", "password": PASSWORD, "epoch": 256},
        ):
            fault = await alice.fault("rotate", **params)
            assert fault.code == "usage", params
            assert PASSWORD not in fault.message
        assert a.keyring.ring.previous is None

    run(tmp_path, work)
