"""p2pctl help [COMMAND]: from the command table and the commands' own arguments."""

from __future__ import annotations

import sys

from p2pctl.render import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl help
p2pctl help download
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("about", metavar="COMMAND", nargs="?", help="the command to explain")


def run(invocation: Invocation) -> int:
    from p2pctl import cli  # the table; cli imports this module only after it is whole

    output, about = invocation.output, invocation.values.about
    if output.human:
        sys.stdout.write(cli.load(about)[1].format_help() if about else cli.overview())
        return output.finish(VIEW)
    names = cli.summaries() if about is None else {cli.ALIASES.get(about, about): ""}
    items = []
    for name in names:
        module, parser = cli.load(name)
        usage = parser.format_help().splitlines()[0].removeprefix("usage: ")
        examples = module.EXAMPLES.strip().splitlines()
        items.append(
            {"command": name, "summary": cli.summaries()[name], "usage": usage, "examples": examples}
        )
    output.show(VIEW, items)
    return output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    """Never called: people get the text of the parsers."""


VIEW = View(("command", "summary", "usage"), "command", _human, more=("examples",))
