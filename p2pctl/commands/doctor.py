"""p2pctl doctor: what is wrong, and what to do. Works without a daemon too, as far as that goes.

The rule: what needs the daemon's knowledge the daemon checks; what is about the way to it is checked here (p2pctl/selfchecks.py).
"""

from __future__ import annotations

from p2pctl.args import nothing
from p2pctl.client import socket_paths
from p2pctl.render import View
from p2pctl.selfchecks import ALONE, CHECKS, FAIL, OK, WARN, Scene, item
from p2pctl.units import format_duration
from protocol.control import UPGRADE_HINT
from protocol.errors import EXIT_STATUS, Fault
from protocol.version import CONTROL_VERSION, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

    Item = dict[str, Any]

EXAMPLES = """
p2pctl doctor
p2pctl doctor || mail -s "p2pd" ana
p2pctl --json doctor | jq -r '.items[] | select(.status != "ok") | .message'
"""

TONES = {OK: 32, WARN: 33, FAIL: 31}
arguments = nothing


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    scene = Scene(socket_paths(values.socket, values.home, invocation.environ), invocation.environ)
    items: list[Item] = []
    answered = _daemon(invocation, items)
    for name, check in CHECKS if answered else (*CHECKS, *ALONE):
        items += check(name, scene)
    if answered:
        try:
            items += invocation.client.call("doctor", {})["items"]
        except Fault as fault:
            items.append(
                item("daemon", FAIL, f"the daemon could not look at itself: {fault.message}", fault.hint)
            )
    output.show(VIEW, items)
    status = output.finish(VIEW)
    return EXIT_STATUS["failure"] if any(one.get("status") == FAIL for one in items) else status


def _daemon(invocation: Invocation, items: list[Item]) -> bool:
    """Does it answer, and does it fit? Adds what was found."""
    try:
        ping = invocation.client.call("ping", {})
        version = invocation.client.call("version", {})
    except Fault as fault:
        items.append(item("daemon", FAIL, fault.message, fault.hint))
        return False
    up = format_duration(float(ping.get("uptime_s") or 0.0))
    items.append(item("daemon", OK, f"p2pd answers (pid {ping.get('pid')}, up {up})"))
    theirs = str(version.get("version"))
    if version.get("control_version") != CONTROL_VERSION:
        message = f"p2pctl {VERSION} and p2pd {theirs} do not fit each other"
        items.append(item("versions", FAIL, message, UPGRADE_HINT))
    elif theirs != VERSION:
        message = f"p2pctl is {VERSION}, the daemon that runs is {theirs}"
        items.append(item("versions", WARN, message, UPGRADE_HINT))
    else:
        items.append(item("versions", OK, f"p2pctl and p2pd are both {VERSION}"))
    return True


def _human(output: Output, items: list[Item]) -> None:
    width = max(len(str(one["check"])) for one in items)
    for one in items:
        status = str(one["status"])
        output.verdict(status, TONES.get(status, 0), f"{one['check']:<{width}}  {one['message']}")
        if one.get("hint") and status != OK:
            output.line(f"      {'':<{width}}  -> {one['hint']}")
    bad = {kind: sum(one["status"] == kind for one in items) for kind in (FAIL, WARN)}
    if bad[FAIL] or bad[WARN]:
        output.line(f"{len(items)} checks: {bad[FAIL]} failed, {bad[WARN]} to look at")
    else:
        output.line(f"{len(items)} checks: all is well")


VIEW = View(("check", "status", "message", "hint"), "check", _human)
