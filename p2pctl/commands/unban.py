"""p2pctl unban PEER|NETWORK...: let devices or networks in again, whoever or whatever banned them."""

from __future__ import annotations

from p2pctl.render import View
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl unban 7mfjwo4a
p2pctl unban 203.0.113.0/24
p2pctl -q bans | xargs p2pctl unban
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "subjects",
        metavar="PEER|NETWORK",
        nargs="+",
        help="as p2pctl bans shows it, or the beginning of a device id",
    )


def run(invocation: Invocation) -> int:
    output, subjects = invocation.output, invocation.values.subjects
    answers = invocation.client.each("unban", [{"subject": subject} for subject in subjects])
    for index, answer in answers:
        if isinstance(answer, Fault):
            output.fail(subjects[index], answer, len(subjects))
            continue
        output.show(VIEW, [answer])
        if not answer.get("changed", True) and not invocation.values.quiet:
            output.warn(f"{answer.get('subject')} was not banned; p2pctl bans shows who is")
    return output.finish(VIEW, len(subjects))


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        if item.get("changed", True):
            output.line(f"Unbanned {item['subject']}")


VIEW = View(("subject", "kind", "changed"), "subject", _human)
