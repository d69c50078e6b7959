"""The client's contract over real daemons: what a failure prints in every shape, alone and beside what worked."""

from __future__ import annotations

import shlex

import pytest

from tests.e2e.conftest import SHAPES, Main
from tests.fakes.processes import Daemon
from tests.fakes.schemas import validate_line

FAILURES: dict[str, str] = {
    "info nobody-has-this": "not_found",
    "remove nobody-has-this": "not_found",
    "download nobody-has-this": "not_found",
    "search nobody-has-this --require": "not_found",
    "peers nobody-has-this": "not_found",
    "rescan /nobody/has/this": "not_found",
    "verify nobody-has-this": "not_found",
    "add /nobody/has/this": "not_found",
    "wait t-99999": "not_found",
    "pause t-99999": "not_found",
    "retry t-99999": "not_found",
    "info sha256:xyz": "usage",
    "add /dev/null": "usage",
    "search x --sort siz": "usage",
    "transfers --state don": "usage",
    "transfers --cursor nonsense": "usage",
    "list --cursor nonsense": "usage",
    "events --since nonsense": "usage",
    "limit up 5": "usage",
    "limit sideways": "usage",
    "ban not-a-peer": "usage",
    "config get peer.lisen": "usage",
    "config set peer.max_downloads many": "usage",
    "config gte": "usage",
    "logs --level loud": "usage",
    "tracker status": "refused",
    "tracker statsu": "usage",
    "verify": "usage",
    "pause": "usage",
    "nonsense": "usage",
    "list --nonsense": "usage",
    "list --limit 0": "usage",
    "--timeout never list": "usage",
    "--tsv list --columns nam": "usage",
}


@pytest.mark.parametrize("line", FAILURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_failure_prints_nothing_but_why(stage: dict[str, Daemon], run: Main, shape: str, line: str) -> None:
    words = [*([shape] if shape and "--tsv" not in line else []), *shlex.split(line)]
    result = run(stage["bob"], *words)
    expected = FAILURES[line]
    assert result.out == ""
    if "--json" in words or "--jsonl" in words:
        [error] = map(validate_line, result.err.splitlines())
        assert (error["code"], error["exit"]) == (expected, result.status)
    else:
        assert result.err.startswith("p2pctl: ")
        assert "Traceback" not in result.err


@pytest.mark.parametrize("shape", SHAPES)
def test_several_arguments_some_of_which_fail(shared: dict[str, Daemon], run: Main, shape: str) -> None:
    """What worked is on stdout, what failed on stderr, line for line; a document has both."""
    result = run(shared["alice"], *([shape] if shape else []), "info", "gone", "shared 1.bin", "lost")
    assert result.status == 12
    if shape == "--json":
        assert [item["name"] for item in result.items] == ["shared 1.bin"]
        assert [failed["subject"] for failed in result.document["failed"]] == ["gone", "lost"]
        assert result.document["partial"] is True
    elif shape:
        assert result.out.count("\n") == 1
    if shape in ("--json", "--jsonl"):
        errors = [validate_line(line) for line in result.err.splitlines()]
        assert [error["subject"] for error in errors] == ["gone", "lost"]
    else:
        assert [line for line in result.err.splitlines() if line.startswith("p2pctl: ")] == [
            "p2pctl: gone: nobody shares 'gone'",
            "p2pctl: lost: nobody shares 'lost'",
        ]


def test_all_of_several_fail(shared: dict[str, Daemon], run: Main) -> None:
    """The document is there all the same: it says which failed."""
    result = run(shared["alice"], "--json", "info", "gone", "lost")
    assert (result.status, result.items, len(result.document["failed"])) == (4, [], 2)
