"""p2pctl verify: what is shown of good and bad files, and the exit status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.samples import HOSTILE, ID, SAFE

SUMS = {"files": 3, "size_bytes": 3072, "good": 3}


def item(state: str, code: str = "", **changes: Any) -> dict[str, Any]:
    error = {"code": code, "message": f"it is {state}", "hint": "do something"} if code else None
    return {
        "id": ID,
        "name": "a",
        "path": f"/d/{state}",
        "size_bytes": 1024,
        "kind": "share",
        "transfer": None,
        "state": state,
        "pieces": 4,
        "bad_pieces": 1 if state in ("damaged", "repaired", "changed") else 0,
        "bad": [],
        "error": error,
        **changes,
    }


GOOD = item("good")
DAMAGED = item("damaged", "integrity")
CHANGED = item("changed", "integrity")


def answers(daemon: Daemon, *items: dict[str, Any]) -> None:
    def verify(request: Any, send: Any) -> dict[str, Any]:
        for one in items:
            send({"stage": "verifying", "name": "a", "done_bytes": 1, "total_bytes": 3, "items": [one]})
        return SUMS

    daemon.on["verify"] = verify


def test_good_files_are_counted_and_shown_when_asked_for(daemon: Daemon, p2pctl: Run) -> None:
    answers(daemon, GOOD)
    got = p2pctl("verify", "--all")
    assert (got.status, got.out, got.err) == (0, "", "Verified 3 files (3.0 KiB): 3 good\n")
    assert p2pctl("-v", "verify", "--all").out == "good  /d/good\n"
    assert p2pctl("--json", "verify", "--all").document["items"] == [GOOD]
    assert p2pctl("-q", "verify", "--all").out == ""
    assert daemon.params("verify")[0] == {
        "refs": None,
        "all": True,
        "repair": False,
        "restore_changed": False,
    }


@pytest.mark.parametrize(
    ("items", "words", "status"),
    [
        ([GOOD, item("repaired")], ["--all", "--repair"], 0),
        ([GOOD, DAMAGED], ["--all"], 9),
        ([DAMAGED, item("unreadable", "storage")], ["--all"], 9),
        (
            [DAMAGED | {"error": {"code": "network", "message": "nobody", "hint": ""}}],
            ["--all", "--repair"],
            9,
        ),
        ([item("unreadable", "storage")], ["--all"], 10),
        ([CHANGED, item("missing", "not_found"), GOOD], ["--all"], 0),
        ([CHANGED], ["a"], 9),
        ([item("missing", "not_found")], ["a"], 4),
        ([item("missing", "not_found"), item("unreadable", "storage")], ["a", "b"], 12),
    ],
)
def test_statuses(
    daemon: Daemon, p2pctl: Run, items: list[dict[str, Any]], words: list[str], status: int
) -> None:
    answers(daemon, *items)
    for shape in ((), ("--json",), ("--jsonl",), ("-q",)):
        assert p2pctl(*shape, "verify", *words).status == status
    lines = p2pctl("--jsonl", "verify", *words).out.splitlines()
    assert [json.loads(line)["state"] for line in lines] == [one["state"] for one in items]


def test_what_is_bad_is_told(daemon: Daemon, p2pctl: Run) -> None:
    answers(daemon, GOOD, DAMAGED, CHANGED)
    got = p2pctl("verify", "--all")
    assert got.out == "damaged  /d/damaged (1 of 4 pieces)\nchanged  /d/changed (1 of 4 pieces)\n"
    assert "p2pctl: /d/damaged: it is damaged\n  hint: do something\n" in got.err
    assert p2pctl("-q", "verify", "--all").out == "/d/damaged\n/d/changed\n"
    document = p2pctl("--json", "verify", "--all").document
    assert [one["subject"] for one in document["failed"]] == ["/d/damaged"]
    assert len(document["warnings"]) == 1
    answers(daemon, {**DAMAGED, "path": HOSTILE})
    assert SAFE in p2pctl("verify", "--all").out


def test_words_that_do_not_fit(daemon: Daemon, p2pctl: Run) -> None:
    for words in ([], ["--all", "a"], ["a", "--restore-changed"]):
        assert p2pctl("verify", *words).status == 2


def test_progress_has_no_results_in_it(daemon: Daemon, p2pctl: Run) -> None:
    answers(daemon, GOOD)
    got = p2pctl("verify", "--all", "--progress", "json")
    line = json.loads(got.err.splitlines()[0])
    assert (line["schema"], line["stage"], "items" in line) == ("p2p.progress/1", "verifying", False)


def test_the_bar_is_gone_before_a_result_is_printed(
    daemon: Daemon, p2pctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    class Bar:
        def event(self, key: int, name: str, event: Any) -> None:
            steps.append("drawn")

        def close(self) -> None:
            steps.append("gone")

    monkeypatch.setattr("p2pctl.invocation.make", lambda *_: Bar())
    answers(daemon, GOOD, DAMAGED)
    p2pctl("verify", "--all")
    assert steps[:3] == ["drawn", "gone", "drawn"]
