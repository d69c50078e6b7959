"""p2pctl wants: what is wanted and not there yet. Its table also shows `unwant`."""

from __future__ import annotations

from p2pctl.render import View
from p2pctl.units import format_age, parse_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl wants
p2pctl wants --all
p2pctl -q wants | xargs p2pctl unwant
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="also those that became downloads, or failed")
    parser.add_argument("--limit", metavar="N", type=parse_count, help="at most N")
    parser.add_argument("--cursor", metavar="C", help="go on after an earlier page")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    for page in invocation.client.pages("wants", {"all": values.all}, values.limit, values.cursor):
        output.page(VIEW, page)
    return output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    rows = []
    for item in items:
        state = str(item["state"])
        if item.get("transfer"):
            state = f"{item['transfer']} {item.get('transfer_state') or ''}".rstrip()
        elif item.get("error"):
            state = f"{state}: {item['error'].get('message')}"
        age = format_age(str(item.get("created_at")), output.now)
        rows.append([str(item["want"]), age, state, str(item["directory"]), str(item["what"])])
    output.table(("WANT", ">AGE", "STATE", "INTO", "WHAT"), rows)


COLUMNS = (
    "want",
    "what",
    "state",
    "transfer",
    "transfer_state",
    "directory",
    "path",
    "created_at",
    "changed_at",
    "error",
)
VIEW = View(COLUMNS, "want", _human, "nothing is wanted")
