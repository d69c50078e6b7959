"""`download` and `wait`: where a file goes, what is said, and a transfer's failure as exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from p2pctl import transfer
from p2pctl.commands.download import target
from p2pctl.commands.transfers import rank
from protocol.errors import EXIT_STATUS, Fault
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.samples import HOSTILE, SAFE

SUMMARY = "Downloaded example.txt from 192.168.1.100:8001 (1.0 KiB in 0.1 s, 10.0 KiB/s, verified)"
PATH = "/home/ana/downloaded_example.txt"
EVENT = {
    "transfer": "t-1",
    "name": "example.txt",
    "state": "downloading",
    "received_bytes": 512,
    "size_bytes": 1024,
    "resumed_bytes": 0,
    "rate_bytes_per_s": 1024,
    "eta_s": 0.5,
    "sources": 1,
}


@pytest.fixture
def plan(daemon: Daemon) -> Daemon:
    def wait(request: Any, send: Any) -> dict[str, Any]:
        send(EVENT)
        return samples.transfer(transfer=request.params["transfer"])

    daemon.on["download"] = samples.begun()
    daemon.on["wait"] = wait
    return daemon


class TestTarget:
    """What -o means."""

    @pytest.fixture(autouse=True)
    def here(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        (place / "dir").mkdir()
        (place / "file").write_text("")
        monkeypatch.chdir(place)
        return os.getcwd()

    def test_forms(self, here: str) -> None:
        assert target(None, False) == (here, None)
        assert target("dir", False) == (f"{here}/dir", None)
        assert target("dir/", True) == (f"{here}/dir", None)
        assert target("file", False) == (here, "file")
        assert target("new", False) == (here, "new")
        assert target("missing/new", False) == (f"{here}/missing", "new")
        assert target("/x/y", False) == ("/x", "y")

    @pytest.mark.parametrize(("output", "several"), [("", False), ("new/", False), ("new", True)])
    def test_what_is_refused(self, output: str, several: bool) -> None:
        with pytest.raises(Fault) as caught:
            target(output, several)
        assert caught.value.code == "usage"


class TestDownload:
    def test_the_path_is_the_answer(
        self, plan: Daemon, place: Path, p2pctl: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(place)
        got = p2pctl("download", "example.txt")
        assert (got.status, got.out, got.err) == (0, PATH + "\n", SUMMARY + "\n")
        assert plan.params("download") == [
            {
                "ref": "example.txt",
                "directory": os.getcwd(),
                "file": None,
                "prefix": "downloaded_",
                "exists": "fail",
                "share": True,
            }
        ]
        assert plan.params("wait") == [{"transfer": "t-1", "patient": False}]

    def test_options(self, plan: Daemon, p2pctl: Run) -> None:
        p2pctl("download", "x", "-o", "/d/f", "--exists", "rename", "--no-share", "--wait")
        p2pctl("download", "x", "--prefix", "")
        first, second = plan.params("download")
        assert (first["directory"], first["file"], first["exists"], first["share"]) == (
            "/d",
            "f",
            "rename",
            False,
        )
        assert second["prefix"] == ""
        assert p2pctl("download", "x", "-o", "/d/f", "--prefix", "p").status == 2
        assert p2pctl("download", "x", "--wait", "--no-wait").status == 2

    def test_shapes(self, plan: Daemon, p2pctl: Run) -> None:
        got = p2pctl("-q", "download", "x")
        assert (got.status, got.out, got.err) == (0, PATH + "\n", "")
        got = p2pctl("--json", "download", "x")
        assert (got.status, got.err) == (0, "")
        assert got.document == {
            "schema": "p2p.download/1",
            "items": [samples.transfer()],
            "partial": False,
            "next": None,
            "warnings": [],
        }
        assert json.loads(p2pctl("--jsonl", "download", "x").out) == samples.transfer()
        assert p2pctl("--tsv", "download", "x", "--columns", "path,verified").out == f"{PATH}\ttrue\n"

    def test_progress(self, plan: Daemon, p2pctl: Run) -> None:
        got = p2pctl("-q", "download", "x", "--progress", "json")
        assert got.out == PATH + "\n"
        assert got.error == {"schema": "p2p.progress/1", **EVENT}
        got = p2pctl("-q", "download", "x", "--progress", "bar")
        assert got.err == "example.txt: downloading 50% of 1.0 KiB, 1.0 KiB/s, 0.5 s left, 1 source\n"

    def test_without_waiting(self, plan: Daemon, p2pctl: Run) -> None:
        got = p2pctl("download", "x", "--no-wait")
        assert (got.status, got.out, got.err) == (0, "t-1\n", f"Downloading example.txt to {PATH}\n")
        assert p2pctl("-q", "download", "x", "--no-wait").out == "t-1\n"
        assert p2pctl("--json", "download", "x", "--no-wait").document["items"] == [samples.begun()]
        assert plan.params("wait") == []

    @pytest.mark.parametrize("flag", ["--wait", "--no-wait"])
    def test_skipped(self, plan: Daemon, p2pctl: Run, flag: str) -> None:
        plan.on["download"] = samples.transfer(state="skipped", transfer=None)
        got = p2pctl("download", "x", flag)
        assert (got.status, got.err) == (0, "Skipped example.txt: it is there already\n")
        assert got.out == ("" if flag == "--no-wait" else PATH + "\n")
        assert plan.params("wait") == []

    @pytest.mark.parametrize("code", ["not_found", "ambiguous", "exists", "network", "storage", "auth"])
    def test_refused_at_once(self, plan: Daemon, p2pctl: Run, code: str) -> None:
        plan.on["download"] = Fault(code, "no")
        got = p2pctl("download", "x")
        assert (got.status, got.out) == (EXIT_STATUS[code], "")
        assert plan.params("wait") == []

    def test_several_of_which_one_fails(self, plan: Daemon, p2pctl: Run) -> None:
        def answer(request: Any, send: Any) -> dict[str, Any]:
            if request.params["ref"] == "b":
                raise Fault("not_found", "nothing matches")
            return samples.begun(transfer="t-" + request.params["ref"])

        plan.on["download"] = answer
        got = p2pctl("--json", "download", "a", "b", "c")
        assert got.status == 12
        assert [item["transfer"] for item in got.document["items"]] == ["t-a", "t-c"]
        assert [failed["subject"] for failed in got.document["failed"]] == ["b"]

    def test_a_hostile_name(self, plan: Daemon, p2pctl: Run) -> None:
        plan.on["wait"] = samples.transfer(name=HOSTILE, path=f"/d/{HOSTILE}")
        got = p2pctl("download", "x")
        assert got.out == f"/d/{SAFE}\n"
        assert SAFE in got.err
        assert p2pctl("-q", "download", "x").out == f"/d/{HOSTILE}\n"


class TestWait:
    def test_shapes(self, plan: Daemon, p2pctl: Run) -> None:
        got = p2pctl("wait", "t-1")
        assert (got.status, got.out, got.err) == (0, PATH + "\n", SUMMARY + "\n")
        assert p2pctl("--json", "wait", "t-1").document["schema"] == "p2p.wait/1"
        assert p2pctl("-q", "wait", "t-1", "t-2").out == f"{PATH}\n{PATH}\n"

    @pytest.mark.parametrize("code", ["integrity", "storage", "network", "exists"])
    def test_a_failed_transfer_is_the_exit_status(self, plan: Daemon, p2pctl: Run, code: str) -> None:
        error = {"code": code, "message": "it broke", "hint": "mend it"}
        plan.on["wait"] = samples.begun(state="failed", error=error)
        got = p2pctl("wait", "t-1")
        assert (got.status, got.out, got.err) == (
            EXIT_STATUS[code],
            "",
            "p2pctl: it broke\n  hint: mend it\n",
        )
        got = p2pctl("--json", "wait", "t-1")
        assert got.out == ""
        assert got.error["details"] == {"transfer": "t-1", "id": samples.ID}

    def test_a_cancelled_one(self, plan: Daemon, p2pctl: Run) -> None:
        plan.on["wait"] = samples.begun(state="cancelled")
        assert p2pctl("wait", "t-1").err == "p2pctl: t-1 was cancelled\n"
        assert p2pctl("wait", "t-1").status == 1

    def test_some_that_fail(self, plan: Daemon, p2pctl: Run) -> None:
        def wait(request: Any, send: Any) -> dict[str, Any]:
            name = request.params["transfer"]
            return samples.transfer(transfer=name, state="failed" if name == "t-2" else "done")

        plan.on["wait"] = wait
        got = p2pctl("-q", "wait", "t-1", "t-2", "t-3")
        assert (got.status, got.out) == (12, f"{PATH}\n{PATH}\n")

    def test_too_late(self, plan: Daemon, p2pctl: Run) -> None:
        plan.on["wait"] = lambda request, send: None
        got = p2pctl("wait", "t-1", "--timeout", "0.1")
        assert (got.status, got.out) == (6, "")
        assert (
            got.err
            == "p2pctl: not done within 0.1 s; t-1 goes on\n  hint: wait again with: p2pctl wait t-1\n"
        )

    def test_too_late_for_the_first_of_several(self, plan: Daemon, p2pctl: Run) -> None:
        plan.on["wait"] = lambda request, send: None
        got = p2pctl("wait", "--any", "t-1", "t-2", "--timeout", "0.1")
        assert (got.status, got.out) == (6, "")
        assert got.err == (
            "p2pctl: none of them is over within 0.1 s; t-1 t-2 go on\n"
            "  hint: wait again with: p2pctl wait --any t-1 t-2\n"
        )

    def test_the_daemons_own_timeout(self, plan: Daemon, p2pctl: Run) -> None:
        plan.on["wait"] = Fault("timeout", "not done yet")
        assert p2pctl("wait", "t-1").status == 6


class TestSummary:
    def test_many_sources_and_a_resumed_file(self) -> None:
        sources = [f"10.0.0.{n}:8001" for n in range(1, 6)]
        said = transfer.summary(
            samples.transfer(**{"from": sources, "resumed_bytes": 512, "rate_bytes_per_s": 0})
        )
        assert said == (
            "Downloaded example.txt from 10.0.0.1:8001, 10.0.0.2:8001, 10.0.0.3:8001 and 2 more "
            "(1.0 KiB in 0.1 s, 512 B were here already, verified)"
        )

    def test_without_a_source(self) -> None:
        assert transfer.summary(samples.transfer(**{"from": []})).startswith(
            "Downloaded example.txt (1.0 KiB"
        )


class TestAny:
    def test_the_first_that_is_over(self, daemon: Daemon, p2pctl: Run) -> None:
        def wait(request: Any, send: Any) -> dict[str, Any]:
            send({**EVENT, "transfer": "t-2"})
            return samples.transfer(transfer="t-2")

        daemon.on["wait"] = wait
        got = p2pctl("wait", "--any", "t-1", "t-2", "t-1")
        assert (got.status, got.out) == (0, PATH + "\n")
        assert daemon.params("wait") == [{"any": ["t-1", "t-2"]}]

    def test_its_failure_is_the_status(self, daemon: Daemon, p2pctl: Run) -> None:
        error = {"code": "integrity", "message": "wrong data", "hint": ""}
        daemon.on["wait"] = samples.begun(state="failed", error=error)
        assert p2pctl("wait", "--any", "t-1", "t-2").status == 9


def test_one_that_is_tried_again_fails_for_now(daemon: Daemon, p2pctl: Run) -> None:
    error = {"code": "network", "message": "nobody is there", "hint": "it is tried again by itself"}
    daemon.on["download"] = samples.begun()
    daemon.on["wait"] = samples.begun(state="retrying", error=error)
    got = p2pctl("download", "x")
    assert (got.status, got.out) == (7, "")
    assert "tried again by itself" in got.err


def test_a_paused_one_is_told_once(daemon: Daemon, p2pctl: Run) -> None:
    def wait(request: Any, send: Any) -> dict[str, Any]:
        for _ in range(3):
            send({**EVENT, "state": "paused"})
        return samples.transfer()

    daemon.on["wait"] = wait
    assert p2pctl("wait", "t-1").err.count("t-1 is paused: p2pctl resume t-1 lets it go on\n") == 1


def test_one_that_was_resumed_goes_on(daemon: Daemon, p2pctl: Run) -> None:
    def wait(request: Any, send: Any) -> None:
        for state in ("paused", "downloading"):
            send({**EVENT, "state": state})

    daemon.on["wait"] = wait
    assert p2pctl("--json", "wait", "t-1", "--timeout", "0.1").error["message"].endswith("; t-1 goes on")


class TestPaused:
    """The wait ends early for one that nobody lets go on."""

    @pytest.fixture(autouse=True)
    def plan(self, daemon: Daemon) -> None:
        def wait(request: Any, send: Any) -> None:
            for name in ("t-1", "t-3") if "any" in request.params else [request.params["transfer"]]:
                send({**EVENT, "transfer": name, "state": "downloading" if name == "t-2" else "paused"})

        daemon.on["download"] = samples.begun(transfer="t-1")
        daemon.on["wait"] = wait

    @pytest.mark.parametrize("words", [("wait", "t-1"), ("download", "x")])
    def test_it_does_not_go_on(self, p2pctl: Run, words: tuple[str, ...]) -> None:
        got = p2pctl("--json", *words, "--timeout", "0.3")
        assert got.status == 6
        assert got.error["message"] == "not done within 0.3 s; t-1 is paused"
        assert got.error["hint"] == "p2pctl resume t-1 lets it go on"

    def test_the_daemon_has_ended(self, daemon: Daemon, p2pctl: Run) -> None:
        def wait(request: Any, send: Any) -> None:
            send({**EVENT, "state": "paused"})
            raise Fault("no_daemon", "p2pd ends")

        daemon.on["wait"] = wait
        assert p2pctl("--json", "wait", "t-1").error["message"] == "p2pd ends; t-1 is paused"

    def test_beside_others(self, p2pctl: Run) -> None:
        got = p2pctl("wait", "--any", "t-1", "t-2", "t-3", "--timeout", "0.3")
        assert got.status == 6
        assert "none of them is over within 0.3 s; t-2 goes on, t-1 t-3 are paused\n" in got.err
        assert "hint: p2pctl resume t-1 t-3 lets them go on\n" in got.err

    def test_each_of_many(self, p2pctl: Run) -> None:
        got = p2pctl("wait", *(f"t-{number}" for number in range(1, 11)), "--timeout", "0.5")
        assert got.status == 6
        for name, left in (("t-1", "is paused"), ("t-2", "goes on"), ("t-10", "is paused")):
            assert f"p2pctl: {name}: not done within 0.5 s; {name} {left}\n" in got.err


class TestWatch:
    @pytest.fixture(autouse=True)
    def changing(self, daemon: Daemon) -> None:
        def watch(request: Any, send: Any) -> dict[str, Any]:
            send({"items": [samples.begun()], "live": ["t-1"], "active": 1})
            send({"items": [samples.transfer()], "live": [], "active": 0})
            raise Fault("timeout", "not done in time")

        daemon.on["watch"] = watch

    def test_lines(self, daemon: Daemon, p2pctl: Run) -> None:
        got = p2pctl("--jsonl", "transfers", "--watch", "--state", "downloading,done")
        assert got.status == 6
        assert [json.loads(line)["state"] for line in got.out.splitlines()] == ["downloading", "done"]
        assert daemon.params("watch") == [{"states": ["downloading", "done"]}]
        assert len(p2pctl("transfers", "--watch").out.splitlines()) == 3

    def test_what_has_no_room_is_what_waits_or_has_ended_long_ago(self) -> None:
        states = ["done", "queued", "downloading", "paused", "failed", "stalled"]
        ranks = [rank({"state": state}, place) for place, state in enumerate(states)]
        order = sorted(range(len(states)), key=ranks.__getitem__)
        assert [states[index] for index in order] == [
            "downloading",
            "stalled",
            "queued",
            "paused",
            "failed",
            "done",
        ]

    def test_what_does_not_fit(self, p2pctl: Run) -> None:
        assert p2pctl("--json", "transfers", "--watch").status == 2
        assert p2pctl("transfers", "--watch", "--limit", "3").status == 2
        assert p2pctl("transfers", "--state", "asleep").status == 2


def test_states_and_how_many(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["queue"] = {"max_active": 3, "active": 0, "queued": 0, "paused": 0}
    daemon.on["transfers"] = samples.page(samples.transfer())
    got = p2pctl("transfers", "--state", "done", "--max-active", "3")
    assert (got.status, daemon.params("queue")) == (0, [{"max_active": 3}])
    assert "3 run at a time" in got.err
    assert daemon.params("transfers")[0]["states"] == ["done"]
