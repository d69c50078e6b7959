"""p2pctl logs: the last lines of the daemon's log; with -f those that follow.

Each request is one look at what came after a number, so a reader of our stdout that is slow holds up nobody but us, and is told how many
lines it missed.
"""

from __future__ import annotations

from p2pctl.render import View
from protocol.errors import Fault
from protocol.limits import CONTROL_PAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

    Item = dict[str, Any]

EXAMPLES = """
p2pctl logs
p2pctl logs -n 200 --level warning
p2pctl logs -f
p2pctl --jsonl logs -f
"""

LEVELS = ("debug", "info", "warning", "error")
LINES = 50
WAIT_SECONDS = 20.0  # that the daemon may keep one request when nothing is logged


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n",
        "--lines",
        metavar="N",
        type=_number,
        help=f"the last N lines, at most {CONTROL_PAGE} (default {LINES})",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is logged from now on")
    parser.add_argument(
        "--level",
        metavar="L",
        choices=LEVELS,
        help="only this level and graver ones: debug, info, warning, error; the daemon logs from its setting log.level on",
    )


def _number(text: str) -> int:
    """N of --lines; 0 is nothing of the past. Raises Fault usage."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Fault("usage", f"{text!r} is not a number")
    return int(text)


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    if values.follow and output.shape == "json":
        raise Fault("usage", "--follow has no end, --json is one document", "use --jsonl")
    lines = LINES if values.lines is None else values.lines
    if lines > CONTROL_PAGE:
        raise Fault("usage", f"at most {CONTROL_PAGE} lines", "the setting log.file keeps more")
    answer = invocation.client.call("logs", {"lines": lines, "level": values.level})
    output.page(VIEW, {**answer, "next": None})
    while values.follow:
        params = {"after": int(answer["next"]), "level": values.level, "wait_s": WAIT_SECONDS}
        try:
            answer = invocation.client.call("logs", params)
        except Fault as fault:
            if fault.code not in ENDS:
                raise
            raise Fault(fault.code, ENDS[fault.code], fault.hint) from fault
        if answer.get("lost"):
            # Not `warn`, which says each text once.
            output.show(VIEW, [_lost(answer["lost"])])
        output.show(VIEW, answer["items"])
    return output.finish(VIEW)


ENDS = {
    "timeout": "no more of the log in the time that was given",
    "no_daemon": "p2pd has ended, and its log with it",
}
"""Why following is over when nothing is wrong with the question."""


def _lost(count: int) -> Item:
    """In the place of lines that were forgotten before we asked for them."""
    message = f"... {count} lines are missing here: they came faster than they were read"
    return {
        "seq": None,
        "time": None,
        "level": "warning",
        "area": "p2pctl",
        "message": message,
        "exception": None,
    }


def _human(output: Output, items: list[Item]) -> None:
    from datetime import datetime

    for item in items:
        moment = "-"
        if item.get("time"):
            local = datetime.fromisoformat(str(item["time"])).astimezone()
            moment = local.strftime("%H:%M:%S.%f")[:-3]
        area = str(item["area"]).removeprefix("p2pd.")
        output.line(f"{moment:<12} {item['level']:7} {area:12} {item['message']}")
        for part in item.get("exception") or ():
            output.line(f"    {part}")


VIEW = View(
    ("seq", "time", "level", "area", "message"), "message", _human, "nothing was logged", more=("exception",)
)
