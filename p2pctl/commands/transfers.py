"""p2pctl transfers: downloads, newest first; with --watch those under way, as they change."""

from __future__ import annotations

from p2pctl.render import View, note
from p2pctl.transfer import COLUMNS, MORE
from p2pctl.units import format_duration, format_rate, format_size, parse_count
from protocol.display import safe
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl transfers
p2pctl transfers --watch
p2pctl --jsonl transfers --watch
p2pctl --json transfers --limit 10
p2pctl -q transfers --state failed,retrying
p2pctl transfers --max-active 3
"""

STATES = (
    "queued",
    "locating",
    "downloading",
    "stalled",
    "retrying",
    "disk_full",
    "missing_storage",
    "paused",
    "verifying",
    "done",
    "failed",
    "cancelled",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", metavar="S,...", help=f"only those in these states: {', '.join(STATES)}")
    parser.add_argument(
        "--watch", action="store_true", help="show those under way as they change, until interrupted"
    )
    parser.add_argument("--limit", metavar="N", type=parse_count, help="at most N transfers")
    parser.add_argument("--cursor", metavar="C", help="go on after an earlier page")
    parser.add_argument(
        "--max-active",
        metavar="N",
        type=parse_count,
        help="let N run at a time, until the daemon starts again (setting: peer.max_downloads)",
    )


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    states = _states(values.state)
    if values.max_active is not None:
        answer = invocation.client.call("queue", {"max_active": values.max_active})
        if output.human:
            note(f"{answer.get('max_active')} run at a time, until the daemon starts again")
    if values.watch:
        return _watch(invocation, states)
    params = {} if states is None else {"states": states}
    for page in invocation.client.pages("transfers", params, values.limit, values.cursor):
        output.page(VIEW, page)
    return output.finish(VIEW)


def _states(text: str | None) -> list[str] | None:
    """The value of --state. Raises Fault usage for a state that there is not."""
    if text is None:
        return None
    states = [word.strip() for word in text.split(",")]
    for state in states:
        if state not in STATES:
            from protocol.nearest import hint

            near = hint(state, STATES, f"states: {', '.join(STATES)}")
            raise Fault("usage", f"there is no state {state!r}", near)
    return states


def _watch(invocation: Invocation, states: list[str] | None) -> int:
    output = invocation.output
    if output.shape == "json":
        raise Fault("usage", "--watch has no end, --json is one document", "use --jsonl")
    if invocation.values.limit is not None or invocation.values.cursor is not None:
        raise Fault("usage", "--watch takes no --limit and no --cursor")
    params = {"states": states}
    if not (output.human and output.terminal) or output.dumb:
        invocation.client.call(
            "watch", params, lambda event: output.show(VIEW, list(event.get("items") or ()))
        )
        return output.finish(VIEW)
    from p2pctl.live import LiveTable

    with LiveTable(output.color) as table:
        known: dict[str, dict[str, Any]] = {}

        def changed(event: dict[str, Any]) -> None:
            known.update({str(item.get("transfer")): item for item in event.get("items") or ()})
            for name in known.keys() - set(event.get("live") or ()):
                if known[name].get("state") not in ENDED:
                    del known[name]
            rows = [[safe(cell) for cell in _row(output, item)] for item in known.values()]
            counts = ", ".join(f"{event.get(name, 0)} {name}" for name in ("active", "queued", "paused"))
            table.draw(
                _head(output), rows, counts, [rank(item, place) for place, item in enumerate(known.values())]
            )

        invocation.client.call("watch", params, changed)
    return output.finish(VIEW)


ENDED = ("done", "failed", "cancelled")
WAITING = ("queued", "paused")


def rank(item: dict[str, Any], place: int) -> int:
    """What is shown first where there is no room for all: what is worked on, then what waits, then the last ones that ended."""
    if item.get("state") in ENDED:
        return 2**31 - place
    return int(item.get("state") in WAITING)


def _head(output: Output) -> list[str]:
    head = ["TRANSFER", "STATE", ">DONE", "?>SIZE", "?>RATE", "?>LEFT", "?>SOURCES", "NAME"]
    if output.verbose:
        head[-1:] = ["ID", "NAME", "PATH"]
    return head


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    output.table(_head(output), [_row(output, item) for item in items])


def _row(output: Output, item: dict[str, Any]) -> list[str]:
    size = item.get("size_bytes") or 0
    left = item.get("eta_s")
    cells = [
        str(item["transfer"]),
        str(item["state"]),
        f"{item.get('received_bytes', 0) * 100 // size if size else 100}%",
        format_size(size),
        format_rate(item.get("rate_bytes_per_s") or 0),
        "-" if left is None else format_duration(left),
        str(item.get("sources", "-")),
    ]
    if output.verbose:
        cells += [str(item.get("id")), str(item["name"]), str(item.get("path"))]
    else:
        cells.append(str(item["name"]))
    return cells


VIEW = View(COLUMNS, "transfer", _human, "no transfers", MORE)
