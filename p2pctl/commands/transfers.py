"""p2pctl transfers: downloads, newest first."""

from __future__ import annotations

from p2pctl.render import View
from p2pctl.transfer import COLUMNS
from p2pctl.units import format_duration, format_rate, format_size, parse_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl transfers
p2pctl --json transfers --limit 10
p2pctl --tsv transfers --columns transfer,state,path
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", metavar="N", type=parse_count, help="at most N transfers")
    parser.add_argument("--cursor", metavar="C", help="go on after an earlier page")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    for page in invocation.client.pages("transfers", {}, values.limit, values.cursor):
        output.page(VIEW, page)
    return output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    head = ["TRANSFER", "STATE", ">DONE", ">SIZE", ">RATE", ">LEFT", ">SOURCES", "NAME"]
    if output.verbose:
        head[-1:] = ["ID", "NAME", "PATH"]
    output.table(head, [_row(output, item) for item in items])


def _row(output: Output, item: dict[str, Any]) -> list[str]:
    size = item.get("size_bytes") or 0
    left = item.get("eta_s")
    cells = [
        str(item["transfer"]),
        str(item["state"]),
        f"{item.get('received_bytes', 0) * 100 // size if size else 100}%",
        format_size(size),
        format_rate(item.get("rate_bytes_per_s") or 0),
        "-" if left is None else format_duration(left),
        str(item.get("sources", "-")),
    ]
    if output.verbose:
        cells += [str(item.get("id")), str(item["name"]), str(item.get("path"))]
    else:
        cells.append(str(item["name"]))
    return cells


VIEW = View(COLUMNS, "transfer", _human, "no transfers")
