"""Command lines one after another in one process: what they share, and what is remembered of their answers.

The rule: a line runs as a process of its own would, with the same output and the same status, except that the connection is kept, the
options given at the beginning hold for each line that does not say otherwise, and `#3` is the third item of the last list of finds.
`p2pctl.cli.run_line` runs a line; whoever reads lines (the shell, a script on stdin) makes the Session. Knows no command.
"""

from __future__ import annotations

import os
import re
import shlex

from p2pctl.client import Client
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

INHERITED = ("timeout", "quiet", "verbose", "no_color", "progress")
SHAPES = ("json", "jsonl", "tsv")
FINDERS = ("search", "all_files")
"""Commands whose items get numbers."""

_NUMBER = re.compile(r"#([0-9]{1,9})", re.ASCII)


class Session:
    """`values` are the options of the command line that begins the session; `numbered`: lists of finds show their numbers and `#N`
    means one of them; `expands`: `~` and patterns in paths are replaced as sh does, which has not seen these lines."""

    def __init__(
        self, values: argparse.Namespace | None = None, *, numbered: bool = False, expands: bool = False
    ) -> None:
        self.values = values
        self.numbered = numbered
        self._expands = expands
        self.found: list[dict[str, Any]] | None = None
        """The items of the last search or all_files; None before the first."""
        self._client: Client | None = None
        self._paths: list[str] = []

    # -- of each line ---------------------------------------------------------------------------------

    def adopt(self, command: str, parser: argparse.ArgumentParser, values: argparse.Namespace) -> None:
        """Give the parsed options of a line what it left open, and replace `#N` where a REF stands. Raises Fault usage."""
        if self.values is not None:
            self._inherit(values, self.values)
        for action in parser._actions:
            value = getattr(values, action.dest, None)
            if self.numbered and action.metavar == "REF":
                setattr(values, action.dest, self._meant(value))
            elif self._expands and action.metavar == "PATH" and isinstance(value, list):
                setattr(values, action.dest, [path for word in value for path in expand(word)])
            elif self._expands and action.dest == "output" and value is not None:
                setattr(values, action.dest, os.path.expanduser(value))
        if command in FINDERS:
            self.found = []

    def heard(self, command: str, items: list[dict[str, Any]]) -> None:
        """A line's answer, page by page."""
        if command in FINDERS and self.found is not None:
            self.found += items

    def _inherit(self, values: argparse.Namespace, given: argparse.Namespace) -> None:
        if values.socket is None and values.home is None:
            values.socket, values.home = given.socket, given.home
        if not any(getattr(values, shape) for shape in SHAPES) and not values.quiet:
            for shape in SHAPES:
                setattr(values, shape, getattr(given, shape))
        for name in INHERITED:
            if getattr(values, name) in (None, False, "auto"):
                setattr(values, name, getattr(given, name))

    def _meant(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._meant(one) for one in value]
        if not isinstance(value, str) or (match := _NUMBER.fullmatch(value)) is None:
            return value
        return str(self.item(int(match[1]))["id"])

    def item(self, number: int) -> dict[str, Any]:
        """What `#number` means. Raises Fault usage when nothing was found, or not so much."""
        if self.found is None:
            raise Fault("usage", f"there is no #{number} yet", "search TEXT gives numbers to what it finds")
        if not 1 <= number <= len(self.found):
            count = len(self.found)
            shown = f"{count} file{'' if count == 1 else 's'}" if count else "nothing"
            raise Fault(
                "usage", f"there is no #{number}: the last search found {shown}", "a name is a REF, too"
            )
        return self.found[number - 1]

    # -- connection -----------------------------------------------------------------------------------

    def client(self, paths: list[str], timeout_s: float | None) -> Client:
        """The shared connection to `paths`, its time beginning now; another one when the place is another."""
        if self._client is None or self._paths != paths:
            self.close()
            self._client, self._paths = Client(paths, timeout_s), paths
        self._client.renew(timeout_s)
        return self._client

    def close(self) -> None:
        """Drop the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


def words_of(line: str) -> list[str]:
    """The words of a command line, quoted as in sh; none for a blank line or a comment (`#` and a blank, or `#!`).

    Raises Fault usage for a quotation without end. A leading `p2pctl` is dropped, so that what hints and examples say can be typed.
    """
    text = line.strip()
    if re.match(r"#(?![0-9])", text):
        return []
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Fault(
            "usage", f"{str(error).lower()} in: {text}", "quote as in sh: 'two words' or two\\ words"
        ) from error
    return words[1:] if words[:1] == ["p2pctl"] else words


def expand(word: str) -> list[str]:
    """A word as paths: `~`, and the files that match a pattern, unless there is a file of that very name."""
    import glob

    path = os.path.expanduser(word)
    if not os.path.lexists(path) and glob.has_magic(path):
        return sorted(glob.glob(path)) or [word]
    return [path]
