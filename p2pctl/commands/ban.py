"""p2pctl ban PEER|NETWORK: keep a device or a network out, from now on and over restarts."""

from __future__ import annotations

from p2pctl.commands.bans import COLUMNS, left
from p2pctl.render import View
from p2pctl.units import parse_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl ban 7mfjwo4a --reason "shares rubbish"
p2pctl ban 203.0.113.0/24 --for 2d
p2pctl --home /var/lib/p2pd/tracker ban 203.0.113.7
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "subject",
        metavar="PEER|NETWORK",
        help="device id or its first 6 or more characters, address, or network such as 10.0.0.0/8",
    )
    parser.add_argument(
        "--for",
        dest="seconds",
        metavar="DURATION",
        type=parse_seconds,
        help="seconds, or with m, h, d; for good without",
    )
    parser.add_argument("--reason", metavar="TEXT", help="told to the banned, and shown by bans")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    params = {"subject": values.subject, "for_s": values.seconds, "reason": values.reason}
    output.show(VIEW, [invocation.client.call("ban", params)])
    return output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        output.line(f"Banned {item['subject']} {'' if item.get('left_s') is None else 'for '}{left(item)}")


VIEW = View(COLUMNS, "subject", _human)
