"""p2pctl events: what happens in the daemon, as it happens.

Each request is one look at what came after a cursor, so a reader of our stdout that is slow holds up nobody but us; what the daemon
does not remember any more is told as a gap.
"""

from __future__ import annotations

from p2pctl.render import View
from p2pctl.units import format_duration, format_rate, format_size, parse_count
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
p2pctl events
p2pctl events --kind 'transfer.*' --kind 'share.*'
p2pctl --jsonl events --since "$cursor"
p2pctl --json events --no-follow
p2pctl -q events --kind transfer.done --count 1 --timeout 1h
"""

WAIT_SECONDS = 20.0  # that the daemon may keep one request when nothing happens
START = "0"  # the cursor before the first event
ENDS = {"timeout": "no more events in the time that was given", "no_daemon": "p2pd has ended"}
"""Why it is over when nothing is wrong with the question."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since",
        metavar="SEQ",
        help="begin after this event: the `cursor` of one, or a number of this run of p2pd; 0: all that is remembered."
        " Default: with what happens from now on",
    )
    parser.add_argument(
        "--kind",
        dest="kinds",
        metavar="GLOB",
        action="append",
        help="only kinds like this, such as 'transfer.*' (repeatable)",
    )
    parser.add_argument("--count", metavar="N", type=parse_count, help="end after N events")
    follow = parser.add_mutually_exclusive_group()
    follow.add_argument("--follow", action="store_true", help="wait for more (the default)")
    follow.add_argument(
        "--no-follow", action="store_true", help="end after what happened already; --since is then 0"
    )


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    if output.shape == "json" and not values.no_follow and values.count is None:
        raise Fault(
            "usage", "events have no end, --json is one document", "use --jsonl, --count or --no-follow"
        )
    since = START if values.since is None and values.no_follow else values.since
    params: Item = {"cursor": since, "kinds": values.kinds}
    left: int | None = values.count
    ended: Fault | None = None
    wait_s = 0.0  # the first answer is the place where we begin
    while True:
        try:
            limit = None if left is None else min(left, CONTROL_PAGE)
            answer = invocation.client.call("events", {**params, "limit": limit, "wait_s": wait_s})
        except Fault as fault:
            if fault.code not in ENDS or params["cursor"] is None:
                raise
            hint = f"go on with: p2pctl events --since {params['cursor']}"
            ended = Fault(fault.code, ENDS[fault.code], hint)
            break
        items = answer["items"]
        output.show(VIEW, items)
        params["cursor"] = answer["next"]
        if left is not None:
            left -= sum(item.get("kind") != GAP for item in items)
        if left == 0 or (values.no_follow and not answer.get("more")):
            break
        wait_s = WAIT_SECONDS
    if output.shape == "json":
        output.page(VIEW, {"items": [], "next": params["cursor"]})
    status = output.finish(VIEW)
    if ended is not None:
        raise ended
    return status


# -- for people -------------------------------------------------------------------------------------------

GAP = "gap"

TEXTS = {
    "gap": "{_gap}",
    "daemon.started": "p2pd {version} (pid {pid}) runs as {roles}",
    "daemon.stopping": "p2pd (pid {pid}) is stopping",
    "config.reloaded": "settings read again; changed: {changed}; at the next start: {waiting}",
    "share.added": "{name}{_folder} is shared ({_size}): {path}",
    "share.changed": "{name}{_folder} changed ({_size}), now {_id}: {path}",
    "share.withdrawn": "{name} is not served: {reason}",
    "share.restored": "{name} is served again",
    "share.removed": "{name} is shared no more",
    "share.failed": "{name} is not shared: {_error}",
    "transfer.created": "{transfer} {name}{_folder} ({_size}) to {path}",
    "transfer.state": "{transfer} {name}: {previous} -> {state}{_why}",
    "transfer.done": "{transfer} {name} ({_size} in {_duration}, {sources} sources): {path}",
    "transfer.failed": "{transfer} {name}: {_error}",
    "transfer.cancelled": "{transfer} {name}",
    "tracker.connected": "{address}: {peers} peers, {files} files",
    "tracker.lost": "{address} is {state}: {_error}",
    "peer.banned": "{subject} {_until} ({cause})",
    "peer.unbanned": "{subject}",
    "key.changed": "key check {key_check}, epoch {epoch}{_older}",
    "limit.changed": "{direction}: {_limit} ({origin})",
    "queue.changed": "{max_active} downloads at a time",
    "stream.ended": "{stream} {name}: {state} after {_sent}{_why}",
    "hook.started": "{hook} for {transfer} (pid {pid})",
    "hook.done": "{hook} for {transfer} in {_duration}",
    "hook.failed": "{hook} for {transfer} after {_duration}: {reason}",
}
"""What is said of each kind; another one shows all its fields."""

HEAD = ("run", "seq", "cursor", "time", "kind")


class _Words(dict[str, str]):
    """The fields of an event as words; those that begin with _ are made from others."""

    def __init__(self, item: Item) -> None:
        super().__init__({name: _word(value) for name, value in item.items()})
        self._item = item

    def __missing__(self, name: str) -> str:
        item = self._item
        error = item.get("error") or {}
        seconds, limit = item.get("duration_s"), item.get("limit_bytes_per_s")
        made = {
            "_folder": "" if item.get("files") is None else f"/ ({item['files']} files)",
            "_size": format_size(item.get("size_bytes") or 0),
            "_sent": format_size(item.get("sent_bytes") or 0),
            "_until": "for good" if seconds is None else f"for {format_duration(seconds)}",
            "_duration": "ever" if seconds is None else format_duration(seconds),
            "_limit": format_rate(limit) if limit else "no limit",
            "_id": str(item.get("id"))[:8],
            "_error": str(error.get("message", "-")),
            "_why": f" ({error['message']})" if error.get("message") else "",
            "_gap": _gap(item),
            "_older": "" if item.get("previous_epoch") is None else "; the one before is good, too",
        }
        return made.get(name, "-")


def _word(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def _gap(item: Item) -> str:
    if item.get("reason") == "restarted":
        return "p2pd was started anew: what happened before is not known"
    return f"{item.get('missed')} events are not remembered any more"


def _human(output: Output, items: list[Item]) -> None:
    from datetime import datetime

    for item in items:
        moment = datetime.fromisoformat(str(item["time"])).astimezone().strftime("%H:%M:%S")
        kind = str(item["kind"])
        if kind in TEXTS:
            text = TEXTS[kind].format_map(_Words(item))
        else:
            text = " ".join(f"{name}={_word(value)}" for name, value in item.items() if name not in HEAD)
        output.line(f"{moment}  {kind:<18} {text}")


VIEW = View(
    ("seq", "time", "kind", "cursor", "run"),
    "cursor",
    _human,
    "no events",
    more=(
        "version",
        "pid",
        "roles",
        "changed",
        "waiting",
        "id",
        "name",
        "path",
        "size_bytes",
        "files",
        "origin",
        "previous_id",
        "state",
        "reason",
        "epoch",
        "key_check",
        "previous_epoch",
        "error",
        "transfer",
        "previous",
        "duration_s",
        "sources",
        "address",
        "peers",
        "subject",
        "cause",
        "direction",
        "limit_bytes_per_s",
        "max_active",
        "stream",
        "sent_bytes",
        "hook",
        "exit",
        "missed",
    ),
)
