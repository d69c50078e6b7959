"""p2pctl remove REF...: stop sharing files."""

from __future__ import annotations

import os

from p2pctl.render import View
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl remove example.txt
p2pctl remove 7f3a91c2
p2pctl remove ./example.txt
p2pctl remove name:deadbeef
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "refs",
        metavar="REF",
        nargs="+",
        help="what is shared: id, 8 or more digits of it, name, or path (./NAME, /WHOLE/PATH)",
    )


def run(invocation: Invocation) -> int:
    refs = [by_path(ref) for ref in invocation.values.refs]
    output = invocation.output
    for index, answer in invocation.client.each("remove", [{"ref": ref} for ref in refs]):
        if isinstance(answer, Fault):
            output.fail(refs[index], answer, len(refs))
        else:
            output.show(VIEW, [answer])
    return output.finish(VIEW, len(refs))


def by_path(ref: str) -> str:
    """What begins with `./` or `../` is a path here, which the daemon knows as a whole one; anything else is as it was written."""
    return os.path.abspath(ref) if ref.startswith(("./", "../")) or ref in (".", "..") else ref


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        output.line(f"Removed {item['name']} from shared files")


VIEW = View(
    ("id", "sha256", "name", "path", "size_bytes"),
    "id",
    _human,
    more=("files", "state", "shared_at", "removed"),
)
