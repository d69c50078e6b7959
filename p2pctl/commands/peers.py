"""p2pctl peers [REF]: the devices of the swarm, or those that hold a file."""

from __future__ import annotations

from p2pctl.render import View
from p2pctl.units import format_address, parse_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl peers
p2pctl peers example.txt
p2pctl --tsv peers --columns host,port
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", nargs="?", help="only those that hold this file")
    parser.add_argument("--limit", metavar="N", type=parse_count, help="at most N devices")
    parser.add_argument("--cursor", metavar="C", help="go on after an earlier page")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    for page in invocation.client.pages("peers", {"ref": values.ref}, values.limit, values.cursor):
        output.page(VIEW, page)
    return output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    rows = []
    for item in items:
        files = item.get("files")
        device = str(item["device_id"]) + (" (this device)" if item.get("self") else "")
        rows.append(
            [format_address(str(item["host"]), item["port"]), "-" if files is None else str(files), device]
        )
    output.table(("ADDRESS", ">FILES", "DEVICE"), rows)


VIEW = View(("device_id", "host", "port", "self", "files"), "device_id", _human, "no peers are known")
