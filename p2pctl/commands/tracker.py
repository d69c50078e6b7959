"""p2pctl tracker status|peers|files|expire: the tracker that this daemon is, seen by its operator."""

from __future__ import annotations

from p2pctl.render import View
from p2pctl.units import format_address, format_size, parse_count
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl tracker status
p2pctl tracker peers --limit 100
p2pctl tracker files holiday
p2pctl --jsonl tracker files
p2pctl tracker expire
p2pctl tracker expire 7mfjwo4a
"""

WORDS = ("status", "peers", "files", "expire")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("word", metavar="status|peers|files|expire", choices=WORDS, help="what to show or do")
    parser.add_argument(
        "words",
        metavar="TEXT|PEER",
        nargs="*",
        help="of files: only names with these words; of expire: the device to forget, else all that are absent",
    )
    parser.add_argument("--limit", metavar="N", type=parse_count, help="at most N devices or files")
    parser.add_argument("--cursor", metavar="C", help="go on after an earlier page")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    words: list[str] = values.words
    if words and values.word in ("status", "peers"):
        raise Fault("usage", f"{words[0]!r} is too much", f"p2pctl tracker {values.word}")
    if values.word in ("status", "expire") and (values.limit is not None or values.cursor is not None):
        raise Fault("usage", f"{values.word} takes no --limit and no --cursor")
    if values.word == "expire":
        if len(words) > 1:
            raise Fault("usage", "one device at a time", "p2pctl tracker expire [PEER]")
        output.show(
            EXPIRED, [invocation.client.call("tracker_expire", {"device": words[0] if words else None})]
        )
        return output.finish(EXPIRED)
    if values.word == "status":
        output.show(STATUS, [invocation.client.call("tracker_status", {})])
        return output.finish(STATUS)
    view, params = (FILES, {"text": " ".join(words) or None}) if values.word == "files" else (PEERS, {})
    for page in invocation.client.pages(f"tracker_{values.word}", params, values.limit, values.cursor):
        output.page(view, page)
    return output.finish(view)


def _status(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        reasons = ", ".join(
            f"{count} {name}" for name, count in (item.get("refusals_by_reason") or {}).items()
        )
        output.fields(
            (
                ("devices", f"{item['devices']} here, {item['files']} files, {item['bans']} banned"),
                ("sessions", f"{item['sessions']} of {item['connections']} connections"),
                ("wanted", f"{item['wants']} by {item['waiting']} devices"),
                (
                    "requests",
                    f"{item['announces']} announces, {item['publishes']} lists, {item['searches']} searches",
                ),
                ("refused", f"{item['refusals']}{f' ({reasons})' if reasons else ''}"),
                ("passwords", f"{item['failed_proofs']} wrong"),
                (
                    "octets",
                    f"{format_size(item['received_bytes'])} in, {format_size(item['sent_bytes'])} out",
                ),
            )
        )


def _peers(output: Output, items: list[dict[str, Any]]) -> None:
    rows = [
        [
            format_address(str(item["host"]), item["port"]) if item.get("port") else str(item["host"]),
            str(item["files"]),
            str(item.get("lease_ends_at")),
            str(item["device_id"]),
        ]
        for item in items
    ]
    output.table(("ADDRESS", ">FILES", "UNTIL", "DEVICE"), rows)


def _files(output: Output, items: list[dict[str, Any]]) -> None:
    rows = [
        [str(item["id"])[:8], format_size(item["size_bytes"]), str(item["sources"]), str(item["name"])]
        for item in items
    ]
    output.table(("ID", ">SIZE", ">SOURCES", "NAME"), rows)


def _expired(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        output.line(f"Forgot {item['forgotten']} devices and entries")


_FIGURES = (
    "devices",
    "files",
    "bans",
    "sessions",
    "connections",
    "wants",
    "waiting",
    "announces",
    "publishes",
    "searches",
    "refusals",
    "failed_proofs",
    "received_bytes",
    "sent_bytes",
    "refusals_by_reason",
)
_OF_PEERS = ("device_id", "host", "port", "files", "lease_ends_at", "declared_host")
_OF_FILES = ("id", "sha256", "name", "size_bytes", "files", "sources", "shared_at", "names", "local")
STATUS = View(_FIGURES, "devices", _status)
PEERS = View(_OF_PEERS, "device_id", _peers, "no device is here")
FILES = View(_OF_FILES, "id", _files, "no file is listed")
EXPIRED = View(("forgotten", "device_id"), "forgotten", _expired)
VIEW = View(
    ("kind",), "kind", _peers, more=tuple(dict.fromkeys((*_FIGURES, *_OF_PEERS, *_OF_FILES, "forgotten")))
)
"""What --columns may name; each word shows its own."""
