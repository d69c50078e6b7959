"""p2pctl list: what this device shares; a folder is one line."""

from __future__ import annotations

from p2pctl.render import View
from p2pctl.units import parse_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl list
p2pctl list -v
p2pctl --tsv list --columns sha256,path
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", metavar="N", type=parse_count, help="at most N files")
    parser.add_argument("--cursor", metavar="C", help="go on after an earlier page")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    for page in invocation.client.pages("list", {}, values.limit, values.cursor):
        output.page(VIEW, page)
    return output.finish(VIEW)


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    if output.verbose:
        head = ("ID", "SHA256", "STATE", ">SIZE", "NAME", "PATH")
        output.table(head, [[_text(item, key) for key in _FIELDS] for item in items])
        return
    for item in items:
        state = item.get("state", "shared")
        mark = "" if state == "shared" else f" ({state})"
        slash = "" if item.get("files") is None else f"/ - Files: {item['files']}"
        output.line(f"{item['name']}{slash} - Size: {item['size_bytes']} bytes{mark}")


_FIELDS = ("id", "sha256", "state", "size_bytes", "name", "path")


def _text(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    return "-" if value is None else str(value)


VIEW = View(
    ("id", "sha256", "name", "size_bytes", "path", "state", "shared_at", "files"),
    "id",
    _human,
    "no files are shared",
)
