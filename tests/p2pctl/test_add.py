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
