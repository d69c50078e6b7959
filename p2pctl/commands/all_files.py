"""p2pctl all_files: everything the swarm shares."""

from __future__ import annotations

from p2pctl.commands.search import VIEW as HITS
from p2pctl.render import View
from p2pctl.units import parse_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from p2pctl.invocation import Invocation

EXAMPLES = """
p2pctl all_files
p2pctl --jsonl all_files
p2pctl all_files --limit 100 --cursor C
"""

VIEW = View(HITS.columns, HITS.quiet, HITS.human, "nobody shares a file", ("names",))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", metavar="N", type=parse_count, help="at most N files")
    parser.add_argument("--cursor", metavar="C", help="go on after an earlier page")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    for page in invocation.client.pages("all_files", {}, values.limit, values.cursor):
        output.page(VIEW, page)
    return output.finish(VIEW)
