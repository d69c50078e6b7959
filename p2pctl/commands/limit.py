"""p2pctl limit [up|down] [RATE|off|default]: show or set the limits of bandwidth. Kept over restarts of the daemon."""

from __future__ import annotations

from p2pctl.render import View
from p2pctl.units import format_rate, parse_rate
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl limit
p2pctl limit up 500K
p2pctl limit down off
p2pctl limit 20M
p2pctl limit default
"""

DIRECTIONS = ("up", "down")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        metavar="up|down|RATE|off|default",
        nargs="*",
        help="which direction (both, if none is named), and octets a second with K, M or G (powers of 1024),"
        " off, or default for what the settings say",
    )


def read(words: list[str]) -> dict[str, Any]:
    """The parameters of the method. Raises Fault usage."""
    rest = list(words)
    params: dict[str, Any] = {}
    if rest and rest[0] in DIRECTIONS:
        params["direction"] = rest.pop(0)
    if rest:
        word = rest.pop(0)
        if word == "default":
            params["default"] = True
        else:
            params["limit_bytes_per_s"] = parse_rate(word)
    if rest:
        raise Fault("usage", f"{rest[0]!r} is too much", "p2pctl limit [up|down] [RATE|off|default]")
    return params


def run(invocation: Invocation) -> int:
    invocation.output.page(VIEW, invocation.client.call("limit", read(invocation.values.words)))
    return invocation.output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    output.fields((str(item["direction"]), _text(item)) for item in items)


def _text(item: dict[str, Any]) -> str:
    limit = item.get("limit_bytes_per_s")
    origin = "" if item.get("origin") == "settings" else ", set by p2pctl limit"
    shown = format_rate(limit) if limit else "no limit"
    return f"{shown}{origin}; now {format_rate(item.get('rate_bytes_per_s') or 0)}"


VIEW = View(("direction", "limit_bytes_per_s", "rate_bytes_per_s", "origin"), "limit_bytes_per_s", _human)
