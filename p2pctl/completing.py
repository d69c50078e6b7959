"""What may follow on a command line that is being typed: from the command table, the commands' own parsers, and the daemon.

The rule: pure but for `ask`, which is called for what only the daemon knows and may know nothing; nothing here fails, for
whoever presses Tab wants no message. Knows no shell: p2pctl/commands/completion.py and the interactive shell put it to use.
"""

from __future__ import annotations

from p2pctl import args, cli
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    Ask = Callable[[str, str], "Iterable[Candidate]"]

FILES = "files"
"""The shell's own completion of file names is wanted."""

DIRECTORIES = "directories"

BY_METAVAR = {
    "REF": "found",
    "ID": "transfers",
    "PATH": FILES,
    "FILE": FILES,
    "FILE|DIR/|-": FILES,
    "FILE|-": FILES,
    "DIR": DIRECTORIES,
    "COMMAND": "commands",
    "PEER": "devices",
    "PEER|NETWORK": "devices",
    "TEXT|REF": "found",
    "WANT": "wants",
    "FILE|DIR/": FILES,
    "KEY": "settings",
}
"""What an argument is, by the word that stands for it in the usage. Anything else is not completed."""

BY_COMMAND = {
    ("remove", "REF"): "shared",
    ("verify", "REF"): "shared",
    ("unban", "PEER|NETWORK"): "bans",
    (
        "pause",
        "ID",
    ): "transfers:queued,locating,downloading,stalled,retrying,verifying,disk_full,missing_storage",
    ("resume", "ID"): "transfers:paused",
    ("retry", "ID"): "transfers:failed,retrying,stalled",
    (
        "cancel",
        "ID",
    ): "transfers:queued,locating,downloading,stalled,retrying,paused,verifying,disk_full,missing_storage",
}
"""Where a command means something narrower."""

MULTIPLE = ("+", "*")


class Candidate:
    """A word that may stand there, and a few words about it."""

    __slots__ = ("about", "value")

    def __init__(self, value: str, about: str = "") -> None:
        self.value = value
        self.about = about

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Candidate) and (self.value, self.about) == (other.value, other.about)

    def __repr__(self) -> str:
        return f"Candidate({self.value!r}, {self.about!r})"


class Completion:
    """The answer: words that may stand there, and "" or FILES or DIRECTORIES for the shell to add."""

    __slots__ = ("candidates", "paths")

    def __init__(self, candidates: Iterable[Candidate] = (), paths: str = "") -> None:
        self.candidates = list(candidates)
        self.paths = paths


def complete(words: Sequence[str], ask: Ask) -> Completion:
    """What may stand in the place of the last of `words`, those after `p2pctl` up to the cursor; the last may be empty.

    `ask(kind, text)` gives what the daemon knows: kind "shared", "found", "devices", "settings", "transfers" or
    "transfers:STATE,...". Its candidates are taken as they are, all others begin with what was typed.
    """
    *before, word = words or [""]
    try:
        name, rest = args.split(before)
    except Fault:
        return Completion()
    if name is None:
        if before and before[-1] in args.VALUED:
            return _value(_common(before[-1]), "", word, ask)
        if word.startswith("-"):
            return _options(_global(), (), word, ask, "")
        return Completion(_beginning(word, _commands()))
    try:
        parser = cli.load(name)[1]
    except Fault:
        return Completion()
    return _argument(parser, cli.ALIASES.get(name, name), rest, word, ask)


def option_value(words: Sequence[str], option: str) -> str | None:
    """The value that `option` has among complete words, or None."""
    value = None
    for index, word in enumerate(words):
        if word == "--":
            break
        if word == option and index + 1 < len(words):
            value = words[index + 1]
        elif word.startswith(option + "="):
            value = word[len(option) + 1 :]
    return value


def _argument(
    parser: argparse.ArgumentParser, command: str, rest: Sequence[str], word: str, ask: Ask
) -> Completion:
    actions = [action for action in parser._actions if action.option_strings]
    by_name = {name: action for action in actions for name in action.option_strings}
    places = [action for action in parser._actions if not action.option_strings]
    given: set[str] = set()
    count = 0
    literal = False
    wants: argparse.Action | None = None
    for each in rest:
        if wants is not None:
            wants = None
        elif literal or not each.startswith("-") or each == "-":
            count += 1
        elif each == "--":
            literal = True
        else:
            name = each.partition("=")[0]
            given.add(name)
            action = by_name.get(name)
            if action is not None and action.nargs is None and "=" not in each:
                wants = action
    if wants is not None:
        return _value(wants, command, word, ask)
    if word.startswith("-") and not literal:
        return _options(actions, given, word, ask, command)
    for place in places:
        if count == 0 or place.nargs in MULTIPLE:
            return _value(place, command, word, ask)
        count -= 1
    return Completion()


def _options(
    actions: Iterable[argparse.Action], given: Iterable[str], word: str, ask: Ask, command: str
) -> Completion:
    import argparse

    name, equals, value = word.partition("=")
    taken = set(given)
    found = []
    for action in actions:
        if action.help == argparse.SUPPRESS:
            continue
        if equals:
            if name in action.option_strings and action.nargs is None:
                completion = _value(action, command, value, ask)
                shown = [Candidate(f"{name}={each.value}", each.about) for each in completion.candidates]
                return Completion(shown, completion.paths)
            continue
        if taken & set(action.option_strings) and not _repeats(action):
            continue
        fits = [option for option in action.option_strings if option.startswith(word)]
        if fits:
            found.append(Candidate(max(fits, key=len), action.help or ""))
    return Completion(found)


def _repeats(action: argparse.Action) -> bool:
    return type(action).__name__ == "_AppendAction"


def _value(action: argparse.Action, command: str, word: str, ask: Ask) -> Completion:
    """What an option's value or an argument may be."""
    if action.choices is not None:
        return Completion(_beginning(word, (Candidate(str(choice)) for choice in action.choices)))
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    kind = BY_COMMAND.get((command, metavar)) or BY_METAVAR.get(metavar, "")
    if kind in (FILES, DIRECTORIES):
        return Completion(paths=kind)
    if kind == "commands":
        return Completion(_beginning(word, _commands()))
    return Completion(ask(kind, word) if kind else ())


def _commands() -> Iterable[Candidate]:
    return [Candidate(name, text) for name, text in cli.summaries().items()]


def _beginning(word: str, candidates: Iterable[Candidate]) -> Iterable[Candidate]:
    return [candidate for candidate in candidates if candidate.value.startswith(word)]


def _global() -> list[argparse.Action]:
    """The options for every command, from a parser that has no others."""
    return [action for action in args.parser("", "any", "")._actions if action.option_strings]


def _common(name: str) -> argparse.Action:
    return next(action for action in _global() if name in action.option_strings)
