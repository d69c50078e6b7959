"""p2pctl/completing.py: what may follow, for each place of a command line."""

from __future__ import annotations

import pytest

from p2pctl import cli
from p2pctl.completing import (
    BY_COMMAND,
    BY_METAVAR,
    DIRECTORIES,
    FILES,
    Candidate,
    Completion,
    complete,
    option_value,
)


class Daemon:
    """Knows one thing of every kind, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, kind: str, text: str) -> list[Candidate]:
        self.asked.append((kind, text))
        return [Candidate(f"{text}+{kind}")]


def values(line: str, daemon: Daemon | None = None) -> list[str]:
    """The candidates for a line of simple words; the last is the one at the cursor."""
    return [candidate.value for candidate in ask(line, daemon).candidates]


def ask(line: str, daemon: Daemon | None = None) -> Completion:
    return complete(line.split(" "), daemon or Daemon())


def test_a_command_and_what_it_does() -> None:
    assert values("dow") == ["download"]
    assert ask("dow").candidates[0].about == cli.summaries()["download"]
    assert values("") == list(cli.summaries())
    assert values("--home there lis") == ["list"]
    assert values("help sta") == ["status"]


def test_options_for_every_command_before_it() -> None:
    assert "--json" in values("-")
    assert values("--hom") == ["--home"]
    assert values("--progress=j") == ["--progress=json"]
    assert ask("--home ").paths == DIRECTORIES
    assert "list" in values("--json ")


def test_options_of_a_command() -> None:
    found = values("download --")
    assert "--exists" in found
    assert "--json" in found
    assert values("download --exists skip --exi") == []
    assert values("download --exi") == ["--exists"]
    assert "-o" in values("download -")


def test_an_option_that_may_be_repeated_is_offered_again() -> None:
    assert values("add --exclude x --excl") == ["--exclude"]


def test_hidden_options_stay_hidden() -> None:
    assert "--answer" not in values("completion --")


def test_the_value_of_an_option() -> None:
    assert values("download --exists s") == ["skip"]
    assert values("download --exists=s") == ["--exists=skip"]
    assert ask("download -o ").paths == FILES
    assert values("download --limit ") == []


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("download re", "found"),
        ("download one re", "found"),
        ("info re", "found"),
        ("peers re", "found"),
        ("remove re", "shared"),
        ("verify re", "shared"),
        ("wait re", "transfers"),
        ("resume re", "transfers:paused"),
        ("download -- re", "found"),
        ("download --exists skip re", "found"),
        ("download --exists=skip re", "found"),
        ("download --no-wait re", "found"),
    ],
)
def test_what_only_the_daemon_knows(line: str, kind: str) -> None:
    daemon = Daemon()
    assert values(line, daemon) == [f"re+{kind}"]
    assert daemon.asked == [(kind, "re")]


def test_paths_are_the_shells() -> None:
    assert ask("add x").paths == FILES
    assert ask("add x y").paths == FILES


def test_no_more_than_the_command_takes() -> None:
    daemon = Daemon()
    assert values("help one two", daemon) == []
    assert values("status x", daemon) == []
    assert daemon.asked == []


@pytest.mark.parametrize("line", ["nonsense x", "--nonsense x", "-x list ", "nonsense --"])
def test_a_wrong_line_has_no_completion(line: str) -> None:
    assert values(line) == []


def test_after_a_double_dash_there_are_no_options() -> None:
    daemon = Daemon()
    assert values("download -- --exi", daemon) == ["--exi+found"]


def test_the_value_given_to_an_option() -> None:
    assert option_value(["--home", "a", "x"], "--home") == "a"
    assert option_value(["--home=a", "--home", "b"], "--home") == "b"
    assert option_value(["x", "--", "--home", "a"], "--home") is None
    assert option_value(["--home"], "--home") is None


def test_every_narrower_meaning_is_that_of_an_argument_there_is() -> None:
    for command, metavar in BY_COMMAND:
        parser = cli.load(command)[1]
        assert metavar in {action.metavar for action in parser._actions if not action.option_strings}


def test_every_reference_is_completed() -> None:
    """A new command that takes a file, a transfer or a path by another word for it would not be."""
    known = set(BY_METAVAR)
    for command in cli.summaries():
        for action in cli.load(command)[1]._actions:
            for word in ("REF", "PATH", "ID"):
                if isinstance(action.metavar, str) and word in action.metavar.split("|"):
                    assert action.metavar in known, (command, action.metavar)
