"""p2pctl rescan [PATH]: look for what is new, changed or gone in shared folders."""

from __future__ import annotations

import os

from p2pctl.commands.add import report_failed
from p2pctl.render import View
from p2pctl.units import format_size
from protocol.control import fault_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl rescan
p2pctl rescan photos
p2pctl rescan photos -v
p2pctl --json rescan
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help="a shared folder, or a path in one; default: all of them"
    )


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    path = None if values.path is None else os.path.abspath(values.path)
    invocation.waiting("stopped waiting; looking and hashing go on", "see: p2pctl list")
    answer = invocation.client.call(
        "rescan", {"path": path}, lambda event: invocation.progress.event(0, values.path or "folders", event)
    )
    invocation.progress.close()
    output.page(VIEW if path is None else FILE, answer)
    failed = sum(report_failed(output, item) for item in answer["items"])
    missing = answer.get("failed") or ()
    total = len(answer["items"]) + len(missing) + failed
    for one in missing:
        output.fail(str(one.get("subject")), fault_of(one), max(2, total))
    return output.finish(VIEW if path is None else FILE, max(1, total))


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        counts = [(key, int(item[f"{key}_count"])) for key in ("new", "changed", "vanished")]
        news = ", ".join(f"{count} {key}" for key, count in counts if count) or "nothing changed"
        size = format_size(item["size_bytes"])
        output.line(f"{item['name']}: {news} (now {item['files']} files, {size})")
        for mark, (key, count) in zip("+~-", counts, strict=True):
            shown = item[key] if output.verbose or count <= FEW else item[key][:FEW]
            for path in shown:
                output.line(f"  {mark} {path}")
            if count > len(shown):
                output.line(f"  {mark} and {count - len(shown)} more")


FEW = 20  # paths of a kind that are shown without -v

COLUMNS = (
    "id",
    "name",
    "path",
    "size_bytes",
    "files",
    "state",
    "new_count",
    "changed_count",
    "vanished_count",
    "failed_count",
)

MORE = (
    "sha256",
    "shared_at",
    "new",
    "changed",
    "vanished",
    "previous_id",
    "left_out",
    "left_out_count",
    "failed",
)

VIEW = View(COLUMNS, "id", _human, "no folders are shared", MORE)
FILE = View(COLUMNS, "id", _human, "that is a single file, not a folder; it was looked at", MORE)
"""Of a path: what is shared there and is no folder has no item."""
