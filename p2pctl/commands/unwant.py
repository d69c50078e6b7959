"""p2pctl unwant WANT...: give up what is wanted and not there yet. A download that came of it goes on."""

from __future__ import annotations

from p2pctl.commands.wants import COLUMNS
from p2pctl.render import View, note
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl unwant w-3
p2pctl unwant --all
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wants", metavar="WANT", nargs="*", help="such as w-3, as p2pctl wants shows it")
    parser.add_argument("--all", action="store_true", help="everything that is waited for")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    names: list[str] = values.wants
    if values.all == bool(names):
        raise Fault("usage", "either WANTs or --all", "p2pctl wants lists them")
    if values.all:
        pages = invocation.client.pages("wants", {}, None, None)
        names = [str(item.get("want")) for page in pages for item in page["items"]]
    for index, answer in invocation.client.each("unwant", [{"want": name} for name in names]):
        if isinstance(answer, Fault):
            output.fail(names[index], answer, len(names))
            continue
        output.show(VIEW, [answer])
        if not answer.get("changed", True) and not values.quiet:
            output.warn(f"{answer.get('want')} is over: {answer.get('transfer') or answer.get('state')}")
    if values.all and not names and output.human:
        note("nothing is wanted")
    return output.finish(VIEW, max(1, len(names)))


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        if item.get("changed", True):
            output.line(f"Gave up {item['want']} ({item['what']})")


VIEW = View((*COLUMNS, "changed"), "want", _human)
