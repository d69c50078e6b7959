"""p2pctl version: of the client; with --daemon also of the daemon."""

from __future__ import annotations

from p2pctl.render import View
from protocol.version import CONTROL_VERSION, VERSION, WIRE_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl version
p2pctl --json version --daemon
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--daemon", action="store_true", help="the version of the running p2pd too")


def run(invocation: Invocation) -> int:
    own = {"version": VERSION, "wire_version": WIRE_VERSION, "control_version": CONTROL_VERSION}
    items: list[dict[str, Any]] = [{"program": "p2pctl", **own}]
    if invocation.values.daemon:
        items.append({"program": "p2pd", **invocation.client.call("version", {})})
    invocation.output.show(VIEW, items)
    return invocation.output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        line = f"{item['program']} {item['version']}"
        if output.verbose:
            line += f" (wire {item['wire_version']}, control {item['control_version']})"
        output.line(line)


VIEW = View(("program", "version", "wire_version", "control_version"), "version", _human)
