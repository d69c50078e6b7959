"""Every command in every shape against the fake daemon, by the table in plans.py; empty lists and pages of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.schemas import validate
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.plans import PLANS
from tests.p2pctl.samples import HOSTILE, ID, SAFE, page

EMPTY = {
    "list": "no files are shared",
    "search": "no file matches",
    "all_files": "nobody shares a file",
    "peers": "no peers are known",
    "transfers": "no transfers",
    "bans": "nobody is banned",
    "wants": "nothing is wanted",
}


@pytest.fixture
def plan(request: pytest.FixtureRequest, daemon: Daemon) -> Any:
    plan = PLANS[request.param]
    daemon.on[plan[0]] = plan[1]
    return (request.param, *plan)


@pytest.mark.parametrize("plan", PLANS, indirect=True)
class TestEveryShape:
    def test_json(self, plan: Any, p2pctl: Run) -> None:
        command, _, _, argv, items, _, _ = plan
        for words in (["--json", *argv], [*argv, "--json"]):
            got = p2pctl(*words)
            assert (got.status, got.err) == (0, "")
            assert got.document == {
                "schema": f"p2p.{command}/1",
                "items": items,
                "partial": False,
                "next": None,
                "warnings": [],
            }
            validate(command, got.document)  # so the plan is an answer that there can be

    def test_jsonl(self, plan: Any, p2pctl: Run) -> None:
        _, _, _, argv, items, _, _ = plan
        got = p2pctl("--jsonl", *argv)
        assert (got.status, got.err) == (0, "")
        assert [json.loads(line) for line in got.out.splitlines()] == items

    def test_tsv(self, plan: Any, p2pctl: Run) -> None:
        _, _, _, argv, items, _, _ = plan
        got = p2pctl("--tsv", "--header", *argv)
        assert (got.status, got.err) == (0, "")
        head, *lines = [line.split("\t") for line in got.out.splitlines()]
        assert set(head) <= set(items[0])
        assert len(lines) == len(items)
        for line, item in zip(lines, items, strict=True):
            cells = dict(zip(head, line, strict=True))
            for name, cell in cells.items():
                value = item[name]
                if value is None:
                    assert cell == ""
                elif isinstance(value, str):
                    assert cell == value
                else:
                    assert json.loads(cell) == value

    def test_human(self, plan: Any, p2pctl: Run) -> None:
        _, _, _, argv, _, human, _ = plan
        got = p2pctl(*argv)
        assert (got.status, got.err) == (0, "")
        if human is not None:
            assert got.out == human

    def test_quiet(self, plan: Any, p2pctl: Run) -> None:
        _, _, _, argv, _, _, quiet = plan
        got = p2pctl("-q", *argv)
        assert (got.status, got.out, got.err) == (0, quiet, "")

    def test_verbose_says_more(self, plan: Any, p2pctl: Run) -> None:
        command, _, _, argv, items, human, _ = plan
        got = p2pctl("-v", *argv)
        assert (got.status, got.err) == (0, "")
        if command in ("list", "search", "all_files", "transfers"):
            assert ID in got.out
        if command == "status":
            assert items[0]["home"] in got.out
            assert items[0]["home"] not in human

    def test_a_hostile_name(self, plan: Any, daemon: Daemon, p2pctl: Run) -> None:
        _, method, answer, argv, _, _, _ = plan
        if "name" not in (answer.get("items") or [answer])[0]:
            pytest.skip("shows no name")
        bad = {"name": HOSTILE}
        daemon.on[method] = (
            {**answer, **bad} if "items" not in answer else page({**answer["items"][0], **bad})
        )
        for words in (argv, ["-v", *argv]):
            out = p2pctl(*words).out
            assert SAFE in out
            assert "\x1b" not in out
        assert p2pctl("--json", *argv).document["items"][0]["name"] == HOSTILE
        lines = p2pctl("--tsv", *argv, "--columns", "name").out
        assert lines == HOSTILE.replace("\t", "\\t") + "\n"


@pytest.mark.parametrize("command", EMPTY)
def test_an_empty_list_is_no_failure(daemon: Daemon, p2pctl: Run, command: str) -> None:
    daemon.on[command] = page()
    argv = [command, "x"] if command == "search" else [command]
    got = p2pctl(*argv)
    assert (got.status, got.out, got.err) == (0, "", EMPTY[command] + "\n")
    got = p2pctl(*argv, "--json")
    assert (got.status, got.document["items"], got.err) == (0, [], "")
    for shape in ("--tsv", "--jsonl", "-q"):
        got = p2pctl(*argv, shape)
        assert (got.status, got.out, got.err) == (0, "", "")


@pytest.mark.parametrize("command", ["list", "all_files", "transfers", "peers"])
class TestPages:
    ITEMS = {
        "list": samples.share(),
        "all_files": samples.hit(),
        "transfers": samples.transfer(),
        "peers": samples.peer(),
    }

    @pytest.fixture(autouse=True)
    def three(self, command: str, daemon: Daemon) -> None:
        item = self.ITEMS[command]

        def answer(request: Any, send: Any) -> dict[str, Any]:
            here = int(request.params["cursor"] or 0)
            following = None if here == 2 else str(here + 1)
            return page(item, item, next=following, partial=here == 1)

        daemon.on[command] = answer

    def test_all_are_followed(self, command: str, daemon: Daemon, p2pctl: Run) -> None:
        document = p2pctl("--json", command).document
        assert (len(document["items"]), document["next"], document["partial"]) == (6, None, True)
        assert len(p2pctl("-q", command).out.splitlines()) == 6
        assert [params["cursor"] for params in daemon.params(command)[:3]] == [None, "1", "2"]

    def test_limit_and_cursor_are_obeyed(self, command: str, daemon: Daemon, p2pctl: Run) -> None:
        document = p2pctl("--json", command, "--limit", "2").document
        assert (len(document["items"]), document["next"]) == (2, "1")
        document = p2pctl("--json", command, "--cursor", "1").document
        assert (len(document["items"]), document["next"]) == (2, "2")
        got = p2pctl(command, "--cursor", "1")
        assert "more follow: --cursor 2" in got.err
