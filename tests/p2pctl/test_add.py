"""`add`: paths, names, what is said, and many files of which some fail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import Fault
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.samples import ID, SHA256


class TestAdd:
    def answer(self, request: Any, send: Any) -> dict[str, Any]:
        name = os.path.basename(request.params["path"])
        if name.startswith("none"):
            raise Fault("not_found", f"there is no {name}", "look again")
        send({"stage": "hashing", "done_bytes": 0, "total_bytes": 5})
        done = {"added": name != "old.txt", "published": True, "warnings": []}
        if not request.params["wait"]:
            done = {"added": True, "published": False, "state": "hashing", "id": None, "sha256": None}
        return samples.share(name=request.params["name"] or name, path=request.params["path"], **done)

    @pytest.fixture(autouse=True)
    def plan(self, daemon: Daemon) -> None:
        daemon.on["add"] = self.answer

    def test_relative_paths_are_made_absolute(
        self, daemon: Daemon, place: Path, p2pctl: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(place)
        got = p2pctl("add", "example.txt")
        assert (got.status, got.out, got.err) == (0, "Added example.txt to shared files\n", "")
        path = os.path.join(os.getcwd(), "example.txt")
        assert daemon.params("add") == [{"path": path, "name": None, "wait": True}]

    def test_shapes(self, p2pctl: Run) -> None:
        assert p2pctl("-q", "add", "/d/a").out == f"{ID}\n"
        document = p2pctl("--json", "add", "/d/a").document
        assert document["schema"] == "p2p.add/1"
        assert document["items"][0]["path"] == "/d/a"
        assert "failed" not in document
        assert p2pctl("--tsv", "add", "/d/a").out == f"{ID}\t{SHA256}\ta\t/d/a\t1024\tshared\ttrue\ttrue\n"
        verbose = p2pctl("-v", "add", "/d/a").out
        for word in (ID, SHA256, "/d/a", "1.0 KiB"):
            assert word in verbose

    def test_a_known_file_is_no_failure(self, p2pctl: Run) -> None:
        got = p2pctl("add", "/d/old.txt")
        assert (got.status, got.out) == (0, "old.txt is shared already\n")

    def test_another_name(self, daemon: Daemon, p2pctl: Run) -> None:
        assert p2pctl("add", "/d/a", "--as", "b").out == "Added b to shared files\n"
        assert daemon.params("add")[0]["name"] == "b"
        assert p2pctl("add", "/d/a", "/d/c", "--as", "b").status == 2

    def test_without_waiting(self, p2pctl: Run) -> None:
        assert p2pctl("add", "/d/a", "--no-wait").out == "Adding a to shared files\n"
        assert p2pctl("-q", "add", "/d/a", "--no-wait").out == ""

    def test_what_only_the_client_sees(self, place: Path, p2pctl: Run) -> None:
        hidden = place / "none.txt"
        hidden.touch()
        got = p2pctl("add", str(hidden))
        assert got.status == 4
        assert f"{hidden} does not exist for the daemon" in got.err
        assert "it is there for you" in got.err

    def test_one_that_fails(self, p2pctl: Run) -> None:
        got = p2pctl("add", "/d/none")
        assert (got.status, got.out, got.err) == (4, "", "p2pctl: there is no none\n  hint: look again\n")
        got = p2pctl("--json", "add", "/d/none")
        assert (got.status, got.out, got.error["code"]) == (4, "", "not_found")

    def test_some_that_fail(self, p2pctl: Run) -> None:
        got = p2pctl("--json", "add", "/d/a", "/d/none", "/d/b")
        assert got.status == 12
        assert [item["name"] for item in got.document["items"]] == ["a", "b"]
        assert got.document["partial"] is True
        assert [failed["subject"] for failed in got.document["failed"]] == ["/d/none"]
        assert (got.error["exit"], got.error["subject"]) == (4, "/d/none")
        got = p2pctl("add", "/d/a", "/d/none", "/d/b")
        assert got.status == 12
        assert got.out == "Added a to shared files\nAdded b to shared files\n"
        assert got.err.startswith("p2pctl: /d/none: there is no none\n")

    def test_all_that_fail(self, p2pctl: Run) -> None:
        assert p2pctl("add", "/d/none", "/d/none2").status == 4

    def test_progress_goes_to_stderr_when_asked_for(self, p2pctl: Run) -> None:
        got = p2pctl("-q", "add", "/d/a", "--progress", "json")
        assert got.out == f"{ID}\n"
        event = {"stage": "hashing", "done_bytes": 0, "total_bytes": 5}
        assert got.error == {"schema": "p2p.progress/1", "name": "a", **event}

    def test_warnings_of_the_daemon(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["add"] = samples.share(added=True, published=False, warnings=["no tracker can be reached"])
        got = p2pctl("add", "/d/example.txt")
        assert (got.status, got.err) == (0, "p2pctl: no tracker can be reached\n")
        assert p2pctl("--json", "add", "/d/e").document["warnings"] == ["no tracker can be reached"]


class TestFolders:
    def folder(self, **changes: Any) -> dict[str, Any]:
        item: dict[str, Any] = {
            "name": "photos",
            "files": 3,
            "sha256": None,
            "added": True,
            "published": True,
        }
        item |= {"warnings": [], "left_out": [], "left_out_count": 0, "failed": [], "failed_count": 0}
        return samples.share(**{**item, **changes})

    def test_what_is_asked_and_said(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["add"] = self.folder(left_out_count=1)
        got = p2pctl("add", "-r", "/d/photos", "--exclude", "*.o", "--exclude", "cache/", "--hidden")
        assert got.status == 0
        assert got.out == (
            "Added folder photos to shared files (3 files, 1.0 KiB)\n  1 entry left out; --dry-run lists them\n"
        )
        assert daemon.params("add") == [
            {
                "path": "/d/photos",
                "name": None,
                "wait": True,
                "recursive": True,
                "excludes": ["*.o", "cache/"],
                "hidden": True,
            }
        ]
        daemon.on["add"] = self.folder(added=False)
        assert p2pctl("add", "-r", "/d/photos").out == "folder photos is shared already (3 files, 1.0 KiB)\n"
        daemon.on["add"] = self.folder(state="hashing")
        assert p2pctl("add", "-r", "/d/p", "--no-wait").out == "Adding folder photos to shared files\n"

    def test_what_cannot_be_shared_is_named_and_makes_it_partial(self, daemon: Daemon, p2pctl: Run) -> None:
        failed = [{"path": "a:b", "reason": "its name is bad"}]
        daemon.on["add"] = self.folder(failed=failed, failed_count=2)
        got = p2pctl("add", "-r", "/d/photos")
        assert got.status == 12
        assert "Added folder photos" in got.out
        assert "photos/a:b: not shared: its name is bad" in got.err
        assert "1 more are not shared" in got.err
        document = p2pctl("--json", "add", "-r", "/d/photos").document
        assert [one["subject"] for one in document["failed"]] == ["photos/a:b", "photos"]
        assert len(document["items"]) == 1

    def test_a_dry_run_lists_what_is_left_out(self, daemon: Daemon, p2pctl: Run) -> None:
        left = [{"path": ".git", "reason": "hidden"}]
        daemon.on["add"] = self.folder(state="planned", left_out=left, left_out_count=2)
        got = p2pctl("add", "-r", "/d/photos", "--dry-run")
        assert got.out == (
            "Would share folder photos: 3 files, 1.0 KiB (1024 bytes)\n"
            "  leaves out .git: hidden\n  leaves out 1 more\n"
        )
        assert daemon.params("add")[0]["dry_run"] is True
        daemon.on["add"] = samples.share(state="planned", files=None)
        assert p2pctl("add", "/d/a", "--dry-run").out == "Would share example.txt (1024 bytes)\n"

    def test_options_of_folders_need_a_folder(self, p2pctl: Run) -> None:
        assert p2pctl("add", "/d/a", "--exclude", "*.o").status == 2
        assert p2pctl("add", "/d/a", "--hidden").status == 2

    def test_lists_and_searches_show_folders(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["list"] = {"items": [self.folder()], "next": None, "partial": False, "warnings": []}
        assert p2pctl("list").out == "photos/ - Files: 3 - Size: 1024 bytes\n"
        hit = samples.hit(name="photos", files=3, sha256=None, shared_at=None)
        daemon.on["search"] = {"items": [hit], "next": None, "partial": False, "warnings": []}
        assert "photos/ (3 files)" in p2pctl("search", "photos").out
        daemon.on["info"] = hit
        assert "files   3" in p2pctl("info", "photos").out

    def test_rescan(self, daemon: Daemon, p2pctl: Run) -> None:
        counts = {"new": ["n"], "new_count": 1, "changed": [], "changed_count": 0}
        item = self.folder(**counts, vanished=["x"] * 21, vanished_count=21, previous_id=ID)
        daemon.on["rescan"] = {"items": [item], "next": None, "partial": False, "warnings": []}
        got = p2pctl("rescan", "/d/photos")
        lines = got.out.splitlines()
        assert lines[0] == "photos: 1 new, 21 vanished (now 3 files, 1.0 KiB)"
        assert lines[1:3] == ["  + n", "  - x"]
        assert lines[-1] == "  - and 1 more"
        assert len(p2pctl("-v", "rescan").out.splitlines()) == 23
        assert daemon.params("rescan") == [{"path": "/d/photos"}, {"path": None}]
        assert p2pctl("--json", "rescan").document["items"][0]["vanished_count"] == 21
        failed = self.folder(
            **counts, vanished=[], vanished_count=0, failed=[{"path": "a", "reason": "b"}], failed_count=1
        )
        daemon.on["rescan"] = {"items": [failed], "next": None, "partial": False, "warnings": []}
        assert p2pctl("rescan").status == 12
        daemon.on["rescan"] = {"items": [], "next": None, "partial": False, "warnings": []}
        assert "no folders are shared" in p2pctl("rescan").err
        assert "no folders" not in p2pctl("rescan", "/d/file").err

    def test_rescan_of_folders_some_of_which_fail(self, daemon: Daemon, p2pctl: Run) -> None:
        counts = {
            f"{kind}{end}": 0 if end else []
            for kind in ("new", "changed", "vanished")
            for end in ("", "_count")
        }
        gone = {"subject": "/d/gone", "code": "not_found", "message": "there is no /d/gone", "hint": ""}
        daemon.on["rescan"] = {"items": [self.folder(**counts)], "partial": True, "failed": [gone]}
        got = p2pctl("rescan", "--json")
        assert (got.status, len(got.document["items"]), got.document["partial"]) == (12, 1, True)
        assert got.document["failed"] == [{**gone, "exit": 4}]
        assert got.error["subject"] == "/d/gone"
        daemon.on["rescan"] = {"items": [], "partial": True, "failed": [gone, gone]}
        assert p2pctl("rescan").status == 4
