"""p2pctl reload: the daemon reads its settings again, applies what it can, and says what waits for a restart."""

from __future__ import annotations

from p2pctl.commands.config import text
from p2pctl.render import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl reload
p2pctl --json reload
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(invocation: Invocation) -> int:
    invocation.output.page(VIEW, invocation.client.call("reload", {}))
    return invocation.output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        line = f"{item['key']}: {text(item['before']) or '-'} -> {text(item['value']) or '-'}"
        if item.get("error"):
            line += f", not applied: {item['error'].get('message')}"
        elif not item["applied"]:
            line += ", waits for a restart"
        if item.get("note"):
            line += f", {item['note']}"
        output.line(line)


VIEW = View(
    ("key", "before", "value", "applied", "applies", "origin", "where", "note", "error"),
    "key",
    _human,
    "nothing has changed",
)
