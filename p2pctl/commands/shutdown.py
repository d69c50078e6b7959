"""p2pctl shutdown: stop the daemon, and wait until its place is free for another."""

from __future__ import annotations

import time

from p2pctl.render import View
from protocol.errors import Fault
from protocol.limits import SHUTDOWN_HARD_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl shutdown
p2pctl shutdown --no-wait
"""

LOOK_SECONDS = 0.05


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it has stopped")


def run(invocation: Invocation) -> int:
    client, output = invocation.client, invocation.output
    answer = client.call("shutdown", {})
    seconds = invocation.timeout_s or 2 * SHUTDOWN_HARD_SECONDS
    deadline = time.monotonic() + seconds
    client.close()
    while not invocation.values.no_wait and not client.gone():
        if time.monotonic() > deadline:
            raise Fault("timeout", f"p2pd (pid {answer.get('pid')}) has not stopped after {seconds:g} s")
        time.sleep(LOOK_SECONDS)
    output.show(VIEW, [{**answer, "stopping": invocation.values.no_wait}])
    return output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        state = "is stopping" if item["stopping"] else "has stopped"
        output.line(f"p2pd (pid {item.get('pid')}) {state}")


VIEW = View(("pid", "stopping"), "pid", _human)
