"""p2pd/control/sharing.py: folders over the control API. What is about single files is in test_api.py."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.fakes.asker import Asker, put, run
from tests.fakes.swarm import Member


def tree(member: Member) -> Path:
    top = member.files / "photos"
    (top / "sub").mkdir(parents=True)
    (top / "a").write_bytes(b"one")
    (top / "sub/b").write_bytes(b"second")
    (top / ".hidden").touch()
    (top / "bad:name").touch()
    return top


def test_a_folder_from_adding_to_removing(tmp_path: Path) -> None:
    async def work(ask: Asker, other: Asker, alice: Member, bob: Member) -> None:
        top = tree(alice)
        added = await ask("add", path=str(top), recursive=True)
        assert (added["name"], added["files"], added["size_bytes"]) == ("photos", 2, 9)
        assert (added["added"], added["published"], added["sha256"]) == (True, True, None)
        assert added["left_out"] == [{"path": ".hidden", "reason": "hidden"}]
        assert added["failed"][0]["path"] == "bad:name"
        assert (added["failed_count"], added["left_out_count"], added["new_count"]) == (1, 1, 2)
        assert {"stage": "publishing", "done_bytes": 9, "total_bytes": 9} in ask.events
        again = await ask("add", path=str(top), recursive=True)
        assert (again["added"], again["id"]) == (False, added["id"])

        single = put(alice)
        await ask("add", path=single)
        items = (await ask("list"))["items"]
        assert [(item["name"], item["files"]) for item in items] == [("a.bin", None), ("photos", 2)]
        first = await ask("list", limit=1)
        second = await ask("list", limit=1, cursor=first["next"])
        assert [item["name"] for item in first["items"] + second["items"]] == ["a.bin", "photos"]
        assert (await ask("status"))["peer"]["shares"] == 3

        found = (await other("search", text="photos"))["items"]
        assert {item["name"]: item["files"] for item in found} == {
            "photos": 2,
            "photos/a": None,
            "photos/sub/b": None,
        }
        folder = next(item for item in found if item["files"])
        assert (folder["id"], folder["size_bytes"], folder["sha256"]) == (added["id"], 9, None)
        info = await other("info", ref="photos")
        assert (info["files"], info["pieces"], info["path"], len(info["peers"])) == (2, None, None, 1)
        info = await ask("info", ref="photos")
        assert (info["path"], info["state"], info["local"]) == (str(top), "shared", True)
        assert (await ask("info", ref="photos/sub/b"))["path"] == str(top / "sub/b")

        for ref in ("photos/sub/b", "name:photos/a", str(top / "sub/b")):
            fault = await ask.fault("remove", ref=ref)
            assert (fault.code, "part of the folder" in fault.message) == ("usage", True)
        assert (await ask.fault("remove", ref="photos/z")).code == "not_found"
        removed = await ask("remove", ref="photos")
        assert removed["removed"] is True
        assert [item["name"] for item in (await ask("list"))["items"]] == ["a.bin"]
        await alice.published()
        assert (await other("search", text="photos"))["items"] == []

    run(tmp_path, work)


def test_names_are_compared_in_nfc_and_paths_as_they_are(tmp_path: Path) -> None:
    async def work(ask: Asker, other: Asker, alice: Member, bob: Member) -> None:
        top = alice.files / "me\u0301"
        (top / "u\u0308").mkdir(parents=True)
        (top / "u\u0308/a\u0308").write_bytes(b"x")
        assert (await ask("add", path=str(top), recursive=True))["name"] == "m\xe9"
        for ref in ("me\u0301/u\u0308/a\u0308", "name:m\xe9/\xfc/\xe4", str(top / "u\u0308/a\u0308")):
            fault = await ask.fault("remove", ref=ref)
            assert (fault.code, "part of the folder" in fault.message) == ("usage", True)
        for ref in ("me\u0301/u\u0308/a\u0308", "m\xe9/\xfc/\xe4"):
            info = await ask("info", ref=ref)
            assert (info["name"], info["path"]) == ("m\xe9/\xfc/\xe4", str(top / "u\u0308/a\u0308"))
            found = await ask("complete", kind="shared", text=ref.rpartition("/")[0] + "/")
            assert [item["name"] for item in found["items"]] == ["m\xe9/\xfc/\xe4"]
            assert (await ask("verify", refs=[ref]))["good"] == 1
        assert (await ask("remove", ref="me\u0301"))["removed"] is True

    run(tmp_path, work)


def test_a_dry_run_shares_nothing(tmp_path: Path) -> None:
    async def work(ask: Asker, other: Asker, alice: Member, bob: Member) -> None:
        top = tree(alice)
        plan = await ask("add", path=str(top), recursive=True, dry_run=True, excludes=["sub/"])
        assert (plan["state"], plan["name"], plan["files"], plan["size_bytes"]) == ("planned", "photos", 1, 3)
        assert [one["path"] for one in plan["left_out"]] == [".hidden", "sub"]
        assert plan["failed_count"] == 1
        single = await ask("add", path=put(alice), dry_run=True)
        assert (single["files"], single["size_bytes"], single["state"]) == (None, 70_000, "planned")
        assert (await ask("list"))["items"] == []
        assert (await ask.fault("add", path=str(top), dry_run=True)).code == "usage"

    run(tmp_path, work)


def test_a_folder_needs_to_be_asked_for(tmp_path: Path) -> None:
    async def work(ask: Asker, other: Asker, alice: Member, bob: Member) -> None:
        top = tree(alice)
        fault = await ask.fault("add", path=str(top))
        assert (fault.code, fault.hint) == ("usage", "a folder is shared with -r: p2pctl add -r FOLDER")
        assert (await ask.fault("add", path=str(top), recursive=True, name="a/b")).code == "usage"
        assert (await ask.fault("add", path=str(top), recursive=True, excludes=["a\nb"])).code == "usage"
        assert (await ask("add", path=put(alice), recursive=True))["files"] is None
        queued = await ask("add", path=str(top), recursive=True, wait=False)
        assert (queued["id"], queued["state"]) == (None, "hashing")

    run(tmp_path, work)


def test_rescan(tmp_path: Path) -> None:
    async def work(ask: Asker, other: Asker, alice: Member, bob: Member) -> None:
        top = tree(alice)
        before = await ask("add", path=str(top), recursive=True)
        (top / "new").write_bytes(b"new")
        (top / "a").unlink()
        answer = await ask("rescan", path=str(top / "sub"))
        item = answer["items"][0]
        assert (item["new"], item["changed"], item["vanished"]) == (["new"], [], ["a"])
        assert item["previous_id"] == before["id"] != item["id"]
        assert (await other("info", ref="photos"))["id"] == item["id"]
        assert (await other.fault("info", ref="photos/a")).code == "not_found"
        everything = await ask("rescan")
        assert [one["new_count"] for one in everything["items"]] == [0]
        assert (await ask.fault("rescan", path=str(tmp_path))).code == "not_found"
        single = put(alice)
        await ask("add", path=single)
        assert (await ask("rescan", path=single))["items"] == []
        # one of several that is gone is a failure, and the others are looked at
        gone = alice.files / "gone"
        gone.mkdir()
        (gone / "file").touch()
        await ask("add", path=str(gone), recursive=True)
        shutil.rmtree(gone)
        answer = await ask("rescan")
        assert ([one["name"] for one in answer["items"]], answer["partial"]) == (["photos"], True)
        [failed] = answer["failed"]
        assert (failed["subject"], failed["code"]) == (str(gone), "not_found")
        assert failed["message"]
        assert answer["warnings"] == []

    run(tmp_path, work)


def test_two_folders_of_one_name_are_told_apart_by_path(tmp_path: Path) -> None:
    async def work(ask: Asker, other: Asker, alice: Member, bob: Member) -> None:
        for place in ("x", "y"):
            (alice.files / place / "same").mkdir(parents=True)
            (alice.files / place / "same" / place).touch()
            await ask("add", path=str(alice.files / place / "same"), recursive=True)
        assert (await ask.fault("remove", ref="same")).code == "ambiguous"
        assert (await ask("remove", ref=str(alice.files / "x/same")))["removed"]
        assert (await ask("remove", ref="same"))["path"] == str(alice.files / "y/same")

    run(tmp_path, work)
