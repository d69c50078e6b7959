"""p2pctl search TEXT...: find files of the swarm by name. Its table also shows `all_files`."""

from __future__ import annotations

from p2pctl.render import View
from p2pctl.units import format_address, format_age, format_size, parse_count, parse_size
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl search example.txt
p2pctl search '"annual report" 2024' --not draft
p2pctl search training --ext tar --min-size 1G
p2pctl search sha256:b94d27b9934d3e08
p2pctl --tsv search report --columns sha256,name
p2pctl search report --peers
p2pctl -q search nightly --sort age --limit 1 --require
"""

TEXT_HELP = (
    "words that the name must have; '\"two words\"' next to each other; or an id, 8 digits of one, sha256:HEX"
)
NOT_HELP = "no names with this word or '\"phrase\"' (repeatable)"
ALSO = 2  # other names of a file in the table; --verbose shows all
SHOWN_PEERS = 2  # addresses in a cell of the table
ASKED_FOR = 20  # finds of which the shell shows the peers unasked

SORTS = ("relevance", "sources", "size", "name", "age")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", nargs="+", help=TEXT_HELP)
    parser.add_argument("--not", metavar="WORD", action="append", dest="without", help=NOT_HELP)
    parser.add_argument("--ext", metavar="E", help="only names that end with .E")
    parser.add_argument("--min-size", metavar="N", type=parse_size, help="octets, or with K, M, G")
    parser.add_argument("--max-size", metavar="N", type=parse_size, help="octets, or with K, M, G")
    parser.add_argument("--sort", choices=SORTS, default="relevance", help="default: relevance")
    parser.add_argument("--limit", metavar="N", type=parse_count, help="at most N files")
    parser.add_argument("--cursor", metavar="C", help="go on after an earlier page")
    parser.add_argument("--peers", action="store_true", help="who has each, with host and port")
    parser.add_argument("--require", action="store_true", help="exit 4 when nothing is found")


def extension(text: str | None) -> str | None:
    """The value of --ext without its dot. Raises Fault usage for an empty one."""
    if text is not None and not text.removeprefix("."):
        raise Fault("usage", "--ext is empty", "is a variable not set?")
    return None if text is None else text.removeprefix(".")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    params = {
        "text": " ".join(values.text),
        "ext": extension(values.ext),
        "min_size_bytes": values.min_size,
        "max_size_bytes": values.max_size,
        "sort": values.sort,
        "without": values.without or None,
    }
    found = False
    wanted = values.peers or "peers" in (values.columns or "").split(",")
    for page in invocation.client.pages("search", params, values.limit, values.cursor, follow=False):
        items = page["items"]
        if wanted or (output.numbered and output.human and len(items) <= ASKED_FOR):
            _add_peers(invocation, items)
        output.page(VIEW, page)
        found = found or bool(page["items"])
    if values.require and not found:
        raise Fault(
            "not_found", "no file matches", "other members see a file once it is shared and published"
        )
    return output.finish(VIEW)


def _add_peers(invocation: Invocation, items: list[dict[str, Any]]) -> None:
    """Give each item the devices that hold it; one that nobody holds any more has none."""
    asked = [{"ref": item["id"]} for item in items]
    for index, answer in invocation.client.each("peers", asked):
        if not isinstance(answer, Fault):
            items[index]["peers"] = answer.get("items") or []
            continue
        items[index]["peers"] = []
        if answer.code != "not_found":
            invocation.output.warn(answer.message)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    head = ["ID", "?>SIZE", "?>SOURCES", "?>AGE", "NAME"]
    if output.verbose:
        head = ["ID", "SHA256", ">SIZE", ">SOURCES", ">AGE", "LOCAL", "NAME"]
    rows = [_row(output, item) for item in items]
    if all("peers" in item for item in items):
        head[-1:] = ["PEERS", "NAME"]
        for row, item in zip(rows, items, strict=True):
            row.insert(-1, _holders(item["peers"]))
    if output.numbered:
        head.insert(0, ">#")
        first = output.count - len(items) + 1
        for number, row in enumerate(rows, first):
            row.insert(0, f"#{number}")
    output.table(head, rows)


def _row(output: Output, item: dict[str, Any]) -> list[str]:
    middle = [
        format_size(item["size_bytes"]),
        str(item.get("sources", "-")),
        format_age(str(item.get("shared_at")), output.now),
    ]
    name = str(item["name"])
    if item.get("files"):
        name += f"/ ({item['files']} file{'' if item['files'] == 1 else 's'})"
    name += _others(item, None if output.verbose else ALSO)
    if not output.verbose:
        return [str(item["id"])[:8], *middle, name]
    local = "yes" if item.get("local") else "no"
    return [str(item["id"]), str(item.get("sha256") or "-"), *middle, local, name]


def _others(item: dict[str, Any], most: int | None) -> str:
    """The other names of a file, `most` of them (None: all there are)."""
    names = [str(name) for name in item.get("names") or () if name != item["name"]]
    shown = names[:most]
    if not shown:
        return ""
    left = len(names) - len(shown)
    return f" (also {', '.join(shown)}{f' and {left} more' if left else ''})"


def _holders(peers: list[dict[str, Any]]) -> str:
    """`192.168.1.100:8001, this device and 3 more`."""
    words = [
        "this device" if peer.get("self") else format_address(str(peer["host"]), peer["port"])
        for peer in peers
    ]
    more = len(words) - SHOWN_PEERS
    return ", ".join(words[:SHOWN_PEERS]) + (f" and {more} more" if more > 0 else "") or "-"


VIEW = View(
    ("id", "sha256", "name", "size_bytes", "sources", "shared_at", "local", "files"),
    "id",
    _human,
    "no file matches",
    more=("names", "peers"),
)
