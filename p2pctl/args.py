"""The command line: options that every command has, and the parser of the chosen one.

The rule: an option for every command is accepted before and after the command word, and a wrong command
line is a Fault like any other failure, never a traceback or argparse's own exit. Imports argparse only when
a parser is built.
"""

from __future__ import annotations

from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

VALUED = frozenset({"--socket", "--home", "--timeout", "--progress", "--columns"})
"""Options for every command that take a value."""

PLAIN = frozenset(
    {"--json", "--jsonl", "--tsv", "--header", "--quiet", "--verbose", "--no-color", "--help", "--version"}
)
"""Options for every command that take none."""


FREE = ("WORD", "list|get|set|unset")
"""Arguments of completion and config, which may be empty."""

_MARK = "\0"  # before a word that only looks like an option; no word of a command line can hold it


def split(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """The command word (None if there is none) and everything else, in order.

    Raises Fault usage for an option before the command word that is not one for every command: whether it
    takes a value is not known yet.
    """
    rest = list(argv)
    index = 0
    while index < len(rest):
        word = rest[index]
        if word == "--":
            del rest[index]
            break
        if not word.startswith("-") or word == "-":
            break
        name = word.partition("=")[0]
        if word in VALUED:
            index += 1
        elif name not in VALUED and word not in PLAIN and set(word[1:]) - set("qvh"):
            from protocol.nearest import hint

            otherwise = "options of a command follow the command word"
            raise Fault(
                "usage",
                f"{name} is not an option for every command",
                hint(name, [*VALUED, *PLAIN], otherwise) if name.startswith("--") else otherwise,
            )
        index += 1
    if index >= len(rest):
        return None, rest
    return rest.pop(index), rest


def asked(argv: Sequence[str], *names: str) -> bool:
    """Whether one of these plain options stands before any `--`: what must be known before parsing can
    fail.
    """
    for word in argv:
        if word == "--":
            return False
        if word in names:
            return True
    return False


def nothing(parser: argparse.ArgumentParser) -> None:
    """`arguments` of a command that has none of its own."""


class Values:
    """What a command line says, as argparse's Namespace: the options for every command at their defaults, `given` in their place."""

    def __init__(self, **given: Any) -> None:
        self.socket = self.home = self.columns = self.timeout = None
        self.json = self.jsonl = self.tsv = self.header = self.quiet = self.verbose = self.no_color = (
            self.help
        ) = False
        self.progress = "auto"
        self.__dict__.update(given)


_FLAGS = {
    "--json": {"json": True},
    "--jsonl": {"jsonl": True},
    "-q": {"quiet": True},
    "--quiet": {"quiet": True},
    "-v": {"verbose": True},
    "--verbose": {"verbose": True},
    "--no-color": {"no_color": True},
}


def plain(argv: Sequence[str]) -> Values | None:
    """The values of `argv` for a command without arguments of its own, if that holds nothing but some of the common options, one shape
    among them at most; None: ask a parser. argparse takes a third of the time that `p2pctl status` needs, and this none.
    """
    given: dict[str, Any] = {}
    words = iter(argv)
    for word in words:
        if word in ("--socket", "--home", "--timeout"):
            value = next(words, "")
            if not value or value.startswith("-"):
                return None
            given[word[2:]] = value
        elif word in _FLAGS:
            given.update(_FLAGS[word])
        else:
            return None
    return None if "json" in given and "jsonl" in given else Values(**given)


def parser(command: str, summary: str, examples: str) -> argparse.ArgumentParser:
    """A parser with the options for every command; the command module adds its own."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> None:  # type: ignore[override]
            raise Fault("usage", message, f"p2pctl help {command} shows how")

        def _check_value(self, action: argparse.Action, value: object) -> None:
            if action.choices is not None and value not in action.choices:
                raise _no_choice(action, str(value))

        def _get_value(self, action: argparse.Action, arg_string: str) -> object:
            if not arg_string and action.dest in ("home", "socket", "since"):
                raise Fault("usage", f"{_name(action)} is empty", "is a variable not set?")
            try:
                return super()._get_value(action, arg_string)
            except Fault as fault:
                raise Fault(fault.code, f"{_name(action)}: {fault.message}", fault.hint) from fault

        def format_help(self) -> str:
            self.usage = f"p2pctl {command} [OPTION]...{''.join(map(_word, self._actions))}"
            return super().format_help()

    class Formatter(argparse.RawDescriptionHelpFormatter):
        def __init__(self, prog: str) -> None:
            # One is made whenever an argument is added; without a width it imports shutil and its compressors, 3 ms.
            super().__init__(prog, width=_columns() - 2)

    lines = "\n".join(f"  {line}" for line in examples.strip().splitlines())
    built = Parser(
        prog=f"p2pctl {command}",
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{lines}",
        formatter_class=Formatter,
        allow_abbrev=False,
        add_help=False,
    )
    group = built.add_argument_group("options for every command")
    group.add_argument("--socket", metavar="PATH", help="control socket of the daemon")
    group.add_argument("--home", metavar="DIR", help="state directory of the daemon, as P2PD_HOME")
    shape = group.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON document")
    shape.add_argument("--jsonl", action="store_true", help="one JSON line for each item")
    shape.add_argument("--tsv", action="store_true", help="tab-separated values, raw numbers")
    group.add_argument("--columns", metavar="A,B", help="the columns of --tsv")
    group.add_argument("--header", action="store_true", help="a first line with the column names of --tsv")
    group.add_argument("-q", "--quiet", action="store_true", help="only ids or paths")
    group.add_argument("-v", "--verbose", action="store_true", help="more columns and fields")
    group.add_argument("--timeout", metavar="S", help="give up waiting after S seconds (exit 6)")
    group.add_argument("--no-color", action="store_true", help="no colours, as NO_COLOR=1")
    group.add_argument(
        "--progress",
        choices=("auto", "bar", "json", "off"),
        default="auto",
        help="how to show progress on stderr",
    )
    group.add_argument("-h", "--help", action="store_true", help="this text")
    return built


def _columns() -> int:
    """How wide help may be."""
    import os
    import sys

    from p2pctl.screen import terminal_size

    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() and int(told) > 0 else terminal_size(sys.stdout)[0]


def _word(action: argparse.Action) -> str:
    """A positional argument in a line of usage: ` REF...`, ` [COMMAND]`; nothing for an option."""
    if action.option_strings or action.help == "==SUPPRESS==":
        return ""
    return {"+": f" {action.metavar}...", "?": f" [{action.metavar}]", "*": f" [{action.metavar}]..."}.get(
        str(action.nargs), f" {action.metavar}"
    )


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)


def _no_choice(action: argparse.Action, value: str) -> Fault:
    from protocol.nearest import hint

    known = [str(choice) for choice in action.choices or ()]
    return Fault(
        "usage", f"{_name(action)}: there is no {value!r}", hint(value, known, f"one of {', '.join(known)}")
    )


def _surplus(built: argparse.ArgumentParser, words: Sequence[str]) -> Fault:
    """What is wrong with words that no option and no argument took."""
    option = next((word for word in words if word.startswith("-") and word != "-"), None)
    help = f"{built.prog.replace('p2pctl', 'p2pctl help', 1)} shows how"
    if option is None:
        return Fault("usage", f"{words[0]!r} is one argument too many", help)
    from protocol.nearest import hint

    name = option.partition("=")[0]
    known = [word for action in built._actions for word in action.option_strings if word.startswith("--")]
    return Fault("usage", f"there is no option {name}", hint(name, known, help))


def _filled(built: argparse.ArgumentParser, action: argparse.Action, value: object) -> None:
    """Raises Fault usage for an argument without a character: a variable that a script did not set."""
    if value == "" or (isinstance(value, list) and "" in value):
        help = f"{built.prog.replace('p2pctl', 'p2pctl help', 1)} shows how"
        raise Fault("usage", f"{_name(action)} is empty", f"is a variable not set? {help}")


def parse(built: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """The values of `argv`; options and arguments may be mixed, after `--` all are arguments. Raises Fault usage."""
    words = list(argv)
    if "--" in words:
        # argparse drops the meaning of `--` when options and arguments are mixed.
        end = words.index("--")
        words[end:] = [_MARK + word if word.startswith("-") else word for word in words[end + 1 :]]
    for action in built._actions:
        if action.nargs == "*" and not action.option_strings:
            action.required = (
                False  # argparse takes it for one, and would name it among those that are missing
            )
    values, surplus = built.parse_known_intermixed_args(words)
    if surplus:
        raise _surplus(built, [word.removeprefix(_MARK) for word in surplus])
    for name, value in vars(values).items():
        if isinstance(value, str):
            setattr(values, name, value.removeprefix(_MARK))
        elif isinstance(value, list):
            setattr(
                values, name, [each.removeprefix(_MARK) if isinstance(each, str) else each for each in value]
            )
    for action in built._actions:
        if not action.option_strings and action.metavar not in FREE:
            _filled(built, action, getattr(values, action.dest))
    if values.columns is not None and not values.tsv:
        raise Fault("usage", "--columns needs --tsv")
    if values.header and not values.tsv:
        raise Fault("usage", "--header needs --tsv")
    return values
