"""p2pctl config get|set|unset|list: the settings of the daemon, where they come from, and other values for them.

What is set is kept by the daemon in its overlay (docs/config.md); the user's file is never written. A value that nobody else may see
comes from standard input: arguments are shown to all by ps.
"""

from __future__ import annotations

from p2pctl.render import View
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

    Item = dict[str, Any]

EXAMPLES = """
p2pctl config list
p2pctl config get limit.up
p2pctl config set log.level debug
p2pctl config set peer.trackers tracker.example:9000 other.example
p2pctl config set tracker.registry - < url.txt
p2pctl config unset log.level
p2pctl --json config list
"""

ACTIONS = ("list", "get", "set", "unset")
STDIN = "-"
MOST_OCTETS = 32 * 1024  # of a value from standard input


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        metavar="list|get|set|unset",
        nargs="*",
        help="list (all settings), get KEY..., set KEY VALUE... (several make a list), set KEY - (from standard input, a line each; asks"
        " at a terminal, hidden), or unset KEY...",
    )


def run(invocation: Invocation) -> int:
    action, *words = invocation.values.words or ["list"]
    if action not in ACTIONS:
        from difflib import get_close_matches

        near = get_close_matches(action, ACTIONS, 1)
        hint = f"did you mean: p2pctl config {near[0]}" if near else "p2pctl help config shows how"
        raise Fault("usage", f"config cannot {action!r}", hint)
    if action == "list":
        return _list(invocation, words)
    if not words:
        raise Fault("usage", f"config {action} of what?", "p2pctl config list shows all settings")
    if action == "get":
        answer = invocation.client.call("config", {"keys": words})
        invocation.output.page(VALUES, answer)
        return invocation.output.finish(VALUES)
    if action == "set":
        return _set(invocation, words)
    return _unset(invocation, words)


def _list(invocation: Invocation, words: list[str]) -> int:
    if words:
        raise Fault("usage", f"{words[0]!r} is too much", "p2pctl config get KEY shows one")
    invocation.output.page(VIEW, invocation.client.call("config", {}))
    return invocation.output.finish(VIEW)


def _set(invocation: Invocation, words: list[str]) -> int:
    key, *values = words
    if not values:
        raise Fault("usage", f"set {key} to what?", f"p2pctl config unset {key} takes it back")
    if values == [STDIN]:
        values = _from_stdin(key, invocation.session is not None)
    elif invocation.session is None and any(_has_password(value) for value in values):
        invocation.output.warn(
            f"everybody on this machine could see that password (ps); next time: p2pctl config set {key} - < FILE, or keep it in ~/.pgpass"
        )
    item = invocation.client.call(
        "config_set", {"key": key, "value": values[0] if len(values) == 1 else values}
    )
    _show(invocation, item)
    return invocation.output.finish(CHANGES)


def _from_stdin(key: str, several: bool) -> list[str]:
    """The values that are not on the command line. `several`: command lines may come from there. Raises Fault usage."""
    import sys

    if sys.stdin is None:
        raise Fault("usage", f"there is no standard input with a value for {key}", "give it: < FILE")
    if sys.stdin.isatty():
        from getpass import getpass

        try:
            lines = [getpass(f"Value of {key} (it is not shown): ")]
        except EOFError:
            lines = []
    elif several:
        hint = "write the value into the line: it is in no argument of a process"
        raise Fault("usage", "standard input has the command lines, and not the value", hint)
    else:
        octets = sys.stdin.buffer.read(MOST_OCTETS + 1)
        if len(octets) > MOST_OCTETS:
            raise Fault(
                "usage",
                f"the value for {key} from standard input is too long",
                f"at most {MOST_OCTETS} octets",
            )
        try:
            lines = octets.decode("utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise Fault("usage", f"the value for {key} from standard input is not UTF-8") from error
    values = [line for line in lines if line]
    if not values:
        raise Fault(
            "usage",
            f"the value for {key} from standard input is empty",
            f"p2pctl config unset {key} takes it back",
        )
    return values


def _has_password(value: str) -> bool:
    """Whether it is a URL with a password in it."""
    import re

    return re.search(r"://[^/?#@]*:[^/?#@]+@|://.*[?&]password=[^&]", value) is not None


def _unset(invocation: Invocation, words: list[str]) -> int:
    requests = [{"key": key} for key in words]
    for index, result in invocation.client.each("config_unset", requests):
        if isinstance(result, Fault):
            invocation.output.fail(words[index], result, len(words))
        else:
            _show(invocation, result)
    return invocation.output.finish(CHANGES, len(words))


def _show(invocation: Invocation, item: Item) -> None:
    for warning in item.pop("warnings", None) or ():
        invocation.output.warn(str(warning))
    invocation.output.show(CHANGES, [item])


# -- for people -------------------------------------------------------------------------------------------


def text(value: object) -> str:
    """A value as it may be written on the command line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _human(output: Output, items: list[Item]) -> None:
    head = (
        ["KEY", "VALUE", "FROM", "APPLIES", "WHERE"]
        if output.verbose
        else ["KEY", "VALUE", "FROM", "APPLIES"]
    )
    rows = []
    for item in items:
        value = text(item["value"]) or "-"
        if item.get("pending"):
            value += f" (now {text(item.get('running')) or '-'})"
        row = [str(item["key"]), value, str(item["origin"]), str(item["applies"])]
        rows.append([*row, str(item.get("where") or "-")] if output.verbose else row)
    output.table(head, rows)


def _values(output: Output, items: list[Item]) -> None:
    for item in items:
        value = text(item["value"])
        output.line(value if len(items) == 1 else f"{item['key']} = {value}")


def _changes(output: Output, items: list[Item]) -> None:
    for item in items:
        when = "after a restart" if item.get("pending") else "now"
        what = "" if item.get("changed") else ", as before"
        output.line(f"{item['key']} = {text(item['value'])} ({item['origin']}, {when}{what})")


COLUMNS = ("key", "value", "origin", "applies", "pending", "where")
MORE = ("running", "default", "help", "changed")
VIEW = View(COLUMNS, "key", _human, more=MORE)
VALUES = View(COLUMNS, "value", _values, more=MORE)
CHANGES = View(COLUMNS, "key", _changes, more=MORE)
