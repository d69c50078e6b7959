"""p2pd/parsing.py: a wrong command line says what may have been meant."""

from __future__ import annotations

import argparse

import pytest

from p2pd.parsing import Parser, asked
from protocol.errors import Fault


def make() -> Parser:
    top = Parser("p2pd")
    commands = top.add_subparsers(dest="command", parser_class=Parser)
    peer = commands.add_parser("peer")
    peer.add_argument("--tracker", action="append")
    peer.add_argument("--home", metavar="DIR")
    peer.add_argument("--role", choices=("peer", "tracker"))
    commands.add_parser("version")
    registry = commands.add_parser("registry").add_subparsers(dest="action", parser_class=Parser)
    registry.add_parser("copy").add_argument("--replace", action="store_true")
    return top


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["per"], "there is no command 'per'", "did you mean peer?"),
        (["xyzzy"], "there is no command 'xyzzy'", "one of peer, version, registry; p2pd --help"),
        (["peer", "--trakcer", "x"], "p2pd peer has no option --trakcer", "did you mean --tracker?"),
        (["peer", "--trakcer=x"], "p2pd peer has no option --trakcer", "did you mean --tracker?"),
        (["peer", "--bogus"], "p2pd peer has no option --bogus", "p2pd peer --help"),
        (["version", "--tracker", "x"], "p2pd version has no option --tracker", "p2pd version --help"),
        (["peer", "surplus"], "'surplus' is one argument too many", "p2pd peer --help"),
        (["peer", "--role", "pear"], "--role: there is no 'pear'", "did you mean peer?"),
        (["peer", "--tracker"], "argument --tracker: expected one argument", "p2pd peer --help"),
        (["--tracker", "x"], "--tracker is an option of a command", "it follows that: p2pd peer --tracker"),
        (["--home=x", "peer"], "--home is an option of a command", "it follows that: p2pd peer --home"),
        (["peer", "--home", ""], "--home is empty", "is a variable not set?"),
        (["peer", "--home="], "--home is empty", "is a variable not set?"),
        (["peer", "--track", "x"], "p2pd peer has no option --track", "did you mean --tracker?"),
        (
            ["registry", "copy", "--repalce"],
            "p2pd registry copy has no option --repalce",
            "did you mean --replace?",
        ),
        (["--bogus"], "p2pd has no option --bogus", "p2pd --help"),
    ],
)
def test_what_was_meant(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(Fault) as caught:
        make().parse_args(words)
    assert (caught.value.code, caught.value.message, caught.value.hint) == ("usage", message, hint)


def test_what_is_right() -> None:
    given = argparse.Namespace()
    assert make().parse_args(["peer", "--tracker", "a", "--tracker", "b"], given) is given
    assert (given.command, given.tracker) == ("peer", ["a", "b"])
    assert make().parse_args([]).command is None


def test_asked_stops_at_two_dashes() -> None:
    assert asked(["check", "--json", "--", "x"], "--json")
    assert not asked(["check", "--", "--json"], "--json")
