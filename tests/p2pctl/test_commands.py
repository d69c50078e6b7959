"""What single commands do beyond their shapes (test_shapes.py); `add`, `download` and others have files of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocol.errors import Fault
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.plans import PLANS
from tests.p2pctl.samples import HOSTILE, ID, OTHER, SAFE, page


class TestSearch:
    def test_parameters(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["search"] = page(samples.hit())
        argv = ["--ext", ".tar", "--min-size", "1K", "--max-size", "2G", "--sort", "size", "--limit", "3"]
        argv += ["--not", "draft", "--not", '"old copy"']
        assert p2pctl("search", "big", *argv, "data").status == 0
        assert daemon.params("search") == [
            {
                "text": "big data",
                "ext": "tar",
                "min_size_bytes": 1024,
                "max_size_bytes": 2**31,
                "sort": "size",
                "without": ["draft", '"old copy"'],
                "limit": 3,
                "cursor": None,
            }
        ]

    def test_the_table(self, daemon: Daemon, p2pctl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.time", lambda: 1787044364.0 + 4 * 86400)
        daemon.on["search"] = page(samples.hit(), samples.hit(id=OTHER, size_bytes=5, sources=10, local=True))
        assert p2pctl("search", "example").out == (
            "ID           SIZE  SOURCES  AGE  NAME\n"
            "7f3a91c2  1.4 GiB        3   4d  example.txt\n"
            "0be4d7aa      5 B       10   4d  example.txt\n"
        )

    def test_other_names_of_a_file_are_shown_with_it(self, daemon: Daemon, p2pctl: Run) -> None:
        names = ["a.txt", "b\x1b.txt", "c.txt", "d.txt", "e.txt"]
        daemon.on["search"] = page(samples.hit(name="a.txt", names=names))
        assert "  a.txt (also b\\u{1b}.txt, c.txt and 2 more)\n" in p2pctl("search", "x").out
        assert "  a.txt (also b\\u{1b}.txt, c.txt, d.txt, e.txt)\n" in p2pctl("search", "x", "-v").out
        assert p2pctl("--json", "search", "x").document["items"][0]["names"] == names

    def test_one_page_unless_more_is_asked_for(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["search"] = page(samples.hit(), next="c", partial=True, warnings=["hub did not answer"])
        got = p2pctl("search", "a")
        assert got.err == "p2pctl: hub did not answer\np2pctl: more follow: --cursor c\n"
        assert len(daemon.params("search")) == 1

    def test_require(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["search"] = page()
        got = p2pctl("--json", "search", "a", "--require")
        assert (got.status, got.out, got.error["code"]) == (4, "", "not_found")
        daemon.on["search"] = page(samples.hit())
        assert p2pctl("search", "a", "--require").status == 0


def test_an_ambiguous_reference_lists_the_matches(daemon: Daemon, p2pctl: Run) -> None:
    matches = [{"id": ID, "name": HOSTILE, "size_bytes": 1024}, {"id": OTHER, "name": "b", "size_bytes": 5}]
    daemon.on["info"] = Fault("ambiguous", "2 files match", "write more digits", {"matches": matches})
    got = p2pctl("info", "7f3a91c2")
    assert got.status == 5
    assert SAFE in got.err
    assert OTHER[:16] in got.err
    assert p2pctl("--json", "info", "7f3a91c2").error["details"] == {"matches": matches}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["add", "-r", ".", "--exclude", ""], "--exclude is empty"),
        (["search", "x", "--ext", ""], "--ext is empty"),
        (["want", "x", "--ext", "."], "--ext is empty"),
        (["logs", "-n", "-5"], "--lines: '-5' is not a number"),
        (["transfers", "--state", "paussed"], "there is no state 'paussed'\n  hint: did you mean paused?"),
    ],
)
def test_values_that_are_none(daemon: Daemon, p2pctl: Run, words: list[str], message: str) -> None:
    got = p2pctl(*words)
    assert (got.status, got.out) == (2, "")
    assert f"p2pctl: {message}\n" in got.err


def test_a_path_from_here_is_told_as_a_whole_one(daemon: Daemon, p2pctl: Run) -> None:
    states = ("good", "repaired", "damaged", "changed", "missing", "unreadable", "unknown")
    daemon.on["verify"] = dict.fromkeys(("files", "size_bytes", *states), 0)
    daemon.on["remove"] = samples.share(removed=True)
    p2pctl("remove", "./a.txt", "a/b", "../c")
    here = Path.cwd()
    assert [one["ref"] for one in daemon.params("remove")] == [f"{here}/a.txt", "a/b", f"{here.parent}/c"]
    p2pctl("verify", ".", "t-1")
    assert daemon.params("verify")[0]["refs"] == [str(here), "t-1"]


def test_peers_of_a_file(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["peers"] = page(samples.peer())
    p2pctl("peers", "example.txt")
    assert daemon.params("peers") == [{"ref": "example.txt", "cursor": None, "limit": None}]


@pytest.mark.parametrize("command", ["remove", "info", "cancel"])
def test_several_arguments_of_which_one_fails(daemon: Daemon, p2pctl: Run, command: str) -> None:
    def answer(request: Any, send: Any) -> dict[str, Any]:
        if "b" in request.params.values():
            raise Fault("not_found", "nothing matches")
        return samples.transfer(removed=True)

    daemon.on[command] = answer
    got = p2pctl("--json", command, "a", "b", "c")
    assert (got.status, len(got.document["items"]), got.document["failed"][0]["subject"]) == (12, 2, "b")
    assert p2pctl(command, "b").status == 4


def test_status_of_a_tracker_alone(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["status"] = {**samples.STATUS, "peer": None, "trackers": [], "transfers": {}, "rates": {}}
    out = p2pctl("status").out
    assert "serving" in out
    assert "transfers  none" in out
    assert "\npeer " not in out


class TestPing:
    def test_nobody_there(self, place: Path, p2pctl: Run) -> None:
        got = p2pctl("--home", str(place / "none"), "ping")
        assert (got.status, got.out) == (3, "")

    def test_waiting_in_vain(self, place: Path, p2pctl: Run) -> None:
        assert p2pctl("--home", str(place / "none"), "ping", "--wait-daemon", "0.2").status == 3

    def test_a_daemon_that_is_there_answers_at_once(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["ping"] = PLANS["ping"][1]
        assert p2pctl("ping", "--wait-daemon", "30").status == 0
        assert len(daemon.params("ping")) == 1
