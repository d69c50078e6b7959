"""Options for every command go before or after the command word."""

from __future__ import annotations

import subprocess
import sys

import pytest

from p2pctl import args, cli
from p2pctl.units import parse_count
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


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["--srot", "size"], "there is no option --srot", "did you mean --sort?"),
        (["--limt=3"], "there is no option --limt", "did you mean --limit?"),
        (["--bogus"], "there is no option --bogus", "p2pctl help search shows how"),
        (["surplus", "--json"], "'surplus' is one argument too many", "p2pctl help search shows how"),
        (["--sort", "siz"], "--sort: there is no 'siz'", "did you mean size?"),
        (["--sort", "zzz"], "--sort: there is no 'zzz'", "one of size, name"),
        (["--limit", "0"], "--limit: '0' is not a number above zero", ""),
        (["--sort"], "argument --sort: expected one argument", "p2pctl help search shows how"),
    ],
)
def test_what_was_meant(argv: list[str], message: str, hint: str) -> None:
    built = args.parser("search", "search", "")
    built.add_argument("--sort", choices=("size", "name"))
    built.add_argument("--limit", type=parse_count)
    with pytest.raises(Fault) as caught:
        args.parse(built, argv)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_an_option_for_every_command_that_was_meant() -> None:
    with pytest.raises(Fault) as caught:
        args.split(["--jsno", "list"])
    assert caught.value.hint == "did you mean --json?"


def test_after_a_double_dash_all_are_arguments() -> None:
    built = cli.load("add")[1]
    values = args.parse(built, ["-r", "a", "--", "-dash.txt", "--json", "b"])
    assert (values.paths, values.json, values.recursive) == (["a", "-dash.txt", "--json", "b"], False, True)


@pytest.mark.parametrize("argv", [[""], ["a", ""], ["--", ""], ["a", "--sort", "size", ""]])
def test_a_variable_that_is_not_set(argv: list[str]) -> None:
    built = args.parser("search", "search", "")
    built.add_argument("--sort")
    built.add_argument("text", metavar="TEXT", nargs="+")
    with pytest.raises(Fault) as caught:
        args.parse(built, argv)
    assert (caught.value.code, caught.value.message) == ("usage", "TEXT is empty")


@pytest.mark.parametrize("option", ["--home", "--socket"])
def test_a_place_that_is_not_set_is_not_the_default_one(option: str) -> None:
    built = args.parser("list", "list", "")
    for argv in ([option, ""], [f"{option}="]):
        with pytest.raises(Fault) as caught:
            args.parse(built, argv)
        assert caught.value.message == f"{option} is empty"


def test_what_may_be_left_out_is_not_missing() -> None:
    built = args.parser("tracker", "ask", "")
    built.add_argument("word", metavar="WORD")
    built.add_argument("more", metavar="MORE", nargs="*")
    with pytest.raises(Fault) as caught:
        args.parse(built, [])
    assert caught.value.message == "the following arguments are required: WORD"
    assert args.parse(built, ["x"]).more == []
    assert args.parse(built, ["x", "--json", "y"]).more == ["y"]


def test_options_may_be_empty() -> None:
    built = args.parser("download", "download", "")
    built.add_argument("--prefix")
    built.add_argument("ref", metavar="REF", nargs="?")
    assert args.parse(built, ["--prefix", ""]).prefix == ""
    assert args.parse(built, ["--prefix", "", "a"]).ref == "a"


WITHOUT_PARSER = [
    [],
    ["--json"],
    ["--jsonl", "-v"],
    ["-q", "--no-color"],
    ["--quiet", "--verbose", "--home", "/h"],
    ["--socket", "s", "--timeout", "5m", "--socket", "t"],
]


@pytest.mark.parametrize("argv", WITHOUT_PARSER)
def test_common_options_alone_need_no_parser_and_say_the_same(argv: list[str]) -> None:
    values = args.plain(argv)
    assert values is not None
    assert vars(values) == vars(args.parse(args.parser("status", "status", ""), argv))


@pytest.mark.parametrize(
    "argv",
    [
        ["x"],
        ["-qv"],
        ["--json", "--jsonl"],
        ["--jsonl", "--json"],
        ["--help"],
        ["--home"],
        ["--home", ""],
        ["--home", "--json"],
        ["--home=/h"],
        ["--tsv"],
        ["--columns", "a"],
        ["--progress", "json"],
        ["--jsno"],
        ["--"],
        [""],
    ],
)
def test_what_a_parser_has_to_look_at(argv: list[str]) -> None:
    assert args.plain(argv) is None


def test_what_of_the_client_is_imported_for_a_command_without_arguments() -> None:
    script = (
        "import sys; before = set(sys.modules); from p2pctl.cli import main; main(['--socket', '/none', 'status']); "
        "print(*sys.modules.keys() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "no /none" in done.stderr
    loaded = set(done.stdout.split())
    assert "p2pctl.invocation" in loaded
    assert not {"argparse", "re", "json", "zmq", "shutil"} & loaded
