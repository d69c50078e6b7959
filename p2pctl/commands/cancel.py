"""p2pctl cancel ID...: give up downloads. One that has ended is left as it is."""

from __future__ import annotations

from p2pctl.render import View
from p2pctl.transfer import COLUMNS
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl cancel t-118
p2pctl -q transfers | xargs p2pctl cancel
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("transfers", metavar="ID", nargs="+", help="transfer, such as t-118")


def run(invocation: Invocation) -> int:
    transfers: list[str] = invocation.values.transfers
    output = invocation.output
    for index, answer in invocation.client.each("cancel", [{"transfer": name} for name in transfers]):
        if isinstance(answer, Fault):
            output.fail(transfers[index], answer, len(transfers))
        else:
            output.show(VIEW, [answer])
    return output.finish(VIEW, len(transfers))


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        if item.get("state") == "cancelled":
            output.line(f"Cancelled {item['transfer']} ({item['name']})")
        else:
            output.line(f"{item['transfer']} ({item['name']}) had ended: {item.get('state')}")


VIEW = View(COLUMNS, "transfer", _human)
