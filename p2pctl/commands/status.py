"""p2pctl status: how the daemon is doing."""

from __future__ import annotations

from p2pctl.args import nothing
from p2pctl.render import View
from p2pctl.units import format_duration, format_rate, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl status
p2pctl --json status | jq -r '.items[0].trackers[].state'
"""

STATE_WORDS = {"wrong_password": "has another password"}
arguments = nothing


def run(invocation: Invocation) -> int:
    invocation.output.show(VIEW, [invocation.client.call("status", {})])
    return invocation.output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        output.fields(_pairs(item, output.verbose))


def _pairs(item: dict[str, Any], verbose: bool) -> Iterator[tuple[str, str]]:
    yield "p2pd", f"{item['version']}, pid {item['pid']}, up {format_duration(item['uptime_s'])}"
    epoch = f", epoch {item['epoch']}" if item.get("epoch") else ""
    yield "network", f"{item.get('network')} (key check {item.get('key_check')}{epoch})"
    if rotation := item.get("rotation"):
        old = _count(rotation.get("devices_old"), "device")
        yield "rotation", f"until {rotation.get('ends_at')}; {old} seen with the older key"
    yield "device", str(item.get("device_id"))
    if verbose:
        yield "home", str(item.get("home"))
    if peer := item.get("peer"):
        shared = f"{_count(peer.get('shares'), 'file')} shared ({format_size(peer.get('shared_bytes') or 0)})"
        yield "peer", f"{peer.get('listen')}, {shared}, {_count(peer.get('uploads'), 'upload')}"
    for tracker in item.get("trackers") or ():
        yield "tracker", _tracker(tracker)
    if tracker := item.get("tracker"):
        known = f"{_count(tracker.get('devices'), 'device')}, {_count(tracker.get('files'), 'file')}"
        if trouble := tracker.get("trouble"):
            known = f"its registry {tracker.get('registry')} cannot be used: {trouble}"
        yield "serving", f"tracker on {tracker.get('listen')}, {known}"
    transfers = item.get("transfers") or {}
    states = ("active", "queued", "paused", "failed", "done")
    counts = [f"{transfers[key]} {key}" for key in states if transfers.get(key)]
    yield "transfers", ", ".join(counts) or "none"
    rates = item.get("rates") or {}
    down, up = rates.get("download_bytes_per_s") or 0, rates.get("upload_bytes_per_s") or 0
    limits = item.get("limits") or {}
    yield (
        "rates",
        f"down {_rate(down, limits.get('download_bytes_per_s'))}, up {_rate(up, limits.get('upload_bytes_per_s'))}",
    )


def _rate(rate: int, limit: int | None) -> str:
    return format_rate(rate) + (f" of {format_rate(limit)}" if limit else "")


def _tracker(tracker: dict[str, Any]) -> str:
    state = str(tracker.get("state"))
    words = [f"{tracker.get('address')} {STATE_WORDS.get(state, state)}"]
    if tracker.get("peers") is not None:
        words.append(_count(tracker["peers"], "peer"))
    if tracker.get("files") is not None:
        words.append(_count(tracker["files"], "file"))
    if state == "connected" and tracker.get("published_revision") != tracker.get("revision"):
        words.append("publishing")
    if error := tracker.get("error"):
        words.append(str(error.get("message")))
    return ", ".join(words)


def _count(number: object, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


VIEW = View(
    ("version", "pid", "uptime_s", "network", "key_check", "epoch", "device_id", "roles", "home"),
    "device_id",
    _human,
    more=("started_at", "rotation", "peer", "trackers", "tracker", "transfers", "rates", "limits"),
)
