"""p2pctl info REF...: all that is known of a file."""

from __future__ import annotations

from p2pctl.render import View
from p2pctl.units import format_address, format_size
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl info example.txt
p2pctl info sha256:$(sha256sum < example.txt | cut -d' ' -f1)
p2pctl --json info 7f3a91c2
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "refs", metavar="REF", nargs="+", help="id, 8 or more digits of it, sha256:HEX, or name"
    )


def run(invocation: Invocation) -> int:
    refs: list[str] = invocation.values.refs
    output = invocation.output
    for index, answer in invocation.client.each("info", [{"ref": ref} for ref in refs]):
        if isinstance(answer, Fault):
            output.fail(refs[index], answer, len(refs))
        else:
            output.show(VIEW, [answer])
    return output.finish(VIEW, len(refs))


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        pairs = [("name", str(item["name"]))]
        pairs += [("also", str(name)) for name in item.get("names") or () if name != item["name"]]
        pairs += [
            ("id", str(item["id"])),
            ("sha256", str(item.get("sha256") or "-")),
            ("size", f"{format_size(item['size_bytes'])} ({item['size_bytes']} bytes)"),
        ]
        if item.get("files"):
            pairs.append(("files", str(item["files"])))
        if item.get("pieces") is not None:
            pairs.append(("pieces", f"{item['pieces']} of {format_size(item.get('piece_size_bytes') or 0)}"))
        pairs.append(("shared", str(item.get("shared_at") or "-")))
        if item.get("path"):
            pairs.append(("here", f"{item['path']} ({item.get('state')})"))
        for peer in item.get("peers") or ():
            pairs.append(
                ("source", f"{format_address(str(peer['host']), peer['port'])}  {peer['device_id']}")
            )
        output.fields(pairs)


VIEW = View(
    (
        "id",
        "sha256",
        "name",
        "size_bytes",
        "sources",
        "shared_at",
        "local",
        "pieces",
        "piece_size_bytes",
        "path",
    ),
    "id",
    _human,
    more=("files", "names", "state", "peers"),
)
