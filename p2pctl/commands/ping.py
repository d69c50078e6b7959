"""p2pctl ping: does the daemon answer? With --wait-daemon, wait until it does."""

from __future__ import annotations

import time

from p2pctl.render import View
from p2pctl.units import format_duration, parse_seconds
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl ping
p2pctl ping --wait-daemon 30 || exit
"""

PING_SECONDS = 5.0  # a daemon answers a ping at once, whatever else it does
RETRY_SECONDS = 0.05


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait-daemon", metavar="S", type=parse_seconds, help="try for S seconds until it answers"
    )


def run(invocation: Invocation) -> int:
    seconds = invocation.values.wait_daemon
    deadline = time.monotonic() + (seconds or 0.0)
    while True:
        left = deadline - time.monotonic()
        patience = max(left, RETRY_SECONDS) if seconds else PING_SECONDS
        client = invocation.new_client(invocation.timeout_s or patience)
        try:
            answer = client.call("ping", {})
            break
        except Fault as fault:
            if fault.code != "no_daemon" or time.monotonic() + RETRY_SECONDS > deadline:
                raise
        finally:
            client.close()
        time.sleep(RETRY_SECONDS)
    for trouble in answer.get("troubles") or ():
        invocation.output.warn(str(trouble.get("message")))
    invocation.output.show(VIEW, [answer])
    return invocation.output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        up = format_duration(item["uptime_s"])
        output.line(f"p2pd {item['version']} answers (pid {item['pid']}, up {up})")


VIEW = View(("version", "uptime_s", "pid"), "pid", _human, more=("troubles",))
