"""The parser of p2pd's command line: what is wrong with it is a Fault, with the nearest of what there is as a hint.

The rule: options are never abbreviated (an abbreviation would change its meaning with the next option we add). Knows no command.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from protocol.errors import Fault
from protocol.nearest import hint

PLACES = ("DIR", "FILE", "PATH")
"""What an option without a character must not be taken for: it would mean the default place, and not the one of a variable that is
not set."""


class Parser(argparse.ArgumentParser):
    """See the module. Raises Fault usage, and SystemExit 0 for --help and --version."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        raise Fault("usage", message, f"{self.prog} --help")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        if args and (early := _early(self, args)) is not None:
            raise early
        values, surplus = self.parse_known_args(args, namespace)
        if surplus:
            raise _surplus(_chosen(self, values), surplus)
        return values

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        if not arg_string and action.option_strings and action.metavar in PLACES:
            raise Fault("usage", f"{action.option_strings[-1]} is empty", "is a variable not set?")
        return super()._get_value(action, arg_string)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        name = action.option_strings[-1] if action.option_strings else None
        what = f"{name}: there is no {value!r}" if name else f"there is no command {value!r}"
        raise Fault("usage", what, hint(str(value), known, f"one of {', '.join(known)}; {self.prog} --help"))


def _early(parser: argparse.ArgumentParser, words: Sequence[str]) -> Fault | None:
    """What is wrong when the first word is an option of a command that comes later, or not at all."""
    name = words[0].partition("=")[0]
    if not name.startswith("--") or name in parser._option_string_actions:
        return None
    having = [
        command
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for command, one in action.choices.items()
        if name in one._option_string_actions
    ]
    if not having:
        return None
    meant = next((word for word in words if word in having), "|".join(having))
    return Fault(
        "usage", f"{name} is an option of a command", f"it follows that: {parser.prog} {meant} {name}"
    )


def _surplus(chosen: argparse.ArgumentParser, words: Sequence[str]) -> Fault:
    """What is wrong with words that no option and no argument took."""
    option = next((word for word in words if word.startswith("-")), None)
    if option is None:
        return Fault("usage", f"{words[0]!r} is one argument too many", f"{chosen.prog} --help")
    name = option.partition("=")[0]
    return Fault(
        "usage",
        f"{chosen.prog} has no option {name}",
        hint(name, _options(chosen), f"{chosen.prog} --help"),
    )


def _chosen(parser: argparse.ArgumentParser, values: argparse.Namespace) -> argparse.ArgumentParser:
    """The parser of the command, and of the command of that, that the words chose."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found = action.choices.get(getattr(values, action.dest, None) or "")
            return parser if found is None else _chosen(found, values)
    return parser


def _options(parser: argparse.ArgumentParser) -> Iterable[str]:
    return (word for action in parser._actions for word in action.option_strings if word.startswith("--"))


def asked(words: Sequence[str], option: str) -> bool:
    """Whether a plain option stands before any `--`: what must be known before parsing can fail."""
    return option in (words[: words.index("--")] if "--" in words else words)
