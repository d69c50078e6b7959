"""p2pctl bans: who is kept out of this daemon, and why. Its table also shows `ban`."""

from __future__ import annotations

from p2pctl.render import View
from p2pctl.units import format_duration, parse_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl bans
p2pctl -q bans
p2pctl --tsv bans --columns subject,left_s
"""

CAUSES = {"hand": "by hand", "wrong_data": "wrong data", "wrong_password": "wrong passwords"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", metavar="N", type=parse_count, help="at most N bans")
    parser.add_argument("--cursor", metavar="C", help="go on after an earlier page")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    for page in invocation.client.pages("bans", {}, values.limit, values.cursor):
        output.page(VIEW, page)
    return output.finish(VIEW)


def left(item: dict[str, Any]) -> str:
    """`5h 12m`, `for good`."""
    seconds = item.get("left_s")
    return "for good" if seconds is None else format_duration(seconds)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    rows = []
    for item in items:
        cause = CAUSES.get(str(item.get("cause")), str(item.get("cause")))
        rows.append([str(item["subject"]), left(item), cause, str(item.get("reason") or "-")])
    output.table(("BANNED", "LEFT", "BECAUSE OF", "REASON"), rows)


COLUMNS = ("subject", "kind", "cause", "until_at", "left_s", "since_at", "roles", "reason")
VIEW = View(COLUMNS, "subject", _human, "nobody is banned")
