"""Options for every command go before or after the command word."""

from __future__ import annotations

import pytest

from p2pctl import args
from protocol.errors import Fault


@pytest.mark.parametrize(
    ("argv", "command", "rest"),
    [
        ([], None, []),
        (["list"], "list", []),
        (["--json", "list", "-v"], "list", ["--json", "-v"]),
        (["--timeout", "5", "wait", "t-1"], "wait", ["--timeout", "5", "t-1"]),
        (["--timeout=5", "wait", "t-1"], "wait", ["--timeout=5", "t-1"]),
        (["-qv", "list"], "list", ["-qv"]),
        (["--", "list"], "list", []),
        (["add", "--", "--json"], "add", ["--", "--json"]),
        (["--socket", "list"], None, ["--socket", "list"]),
        (["--help"], None, ["--help"]),
    ],
)
def test_split(argv: list[str], command: str | None, rest: list[str]) -> None:
    assert args.split(argv) == (command, rest)


@pytest.mark.parametrize("argv", [["--limit", "5", "search"], ["-x", "list"], ["--json=1", "list"]])
def test_an_option_of_a_command_before_it(argv: list[str]) -> None:
    with pytest.raises(Fault) as caught:
        args.split(argv)
    assert caught.value.code == "usage"


def test_asked_stops_at_two_dashes() -> None:
    assert args.asked(["add", "--json"], "--json")
    assert not args.asked(["add", "--", "--json"], "--json")


def test_a_wrong_command_line_is_a_fault() -> None:
    built = args.parser("list", "list the files", "p2pctl list")
    for wrong in (["--bogus"], ["--json", "--tsv"], ["surplus"], ["--columns", "id"], ["--header"]):
        with pytest.raises(Fault) as caught:
            args.parse(built, wrong)
        assert caught.value.code == "usage"


def test_options_are_not_abbreviated() -> None:
    """An abbreviation would change its meaning with the next option we add."""
    with pytest.raises(Fault):
        args.parse(args.parser("list", "list", ""), ["--js"])


def test_arguments_and_options_may_be_mixed() -> None:
    built = args.parser("search", "search", "")
    built.add_argument("text", nargs="+")
    built.add_argument("--ext")
    values = args.parse(built, ["a", "--ext", "tar", "b", "--json"])
    assert (values.text, values.ext, values.json) == (["a", "b"], "tar", True)
