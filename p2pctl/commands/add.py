"""p2pctl add PATH...: share files. Many files are many requests, a window of them under way."""

from __future__ import annotations

import os

from p2pctl.render import View
from p2pctl.units import format_size
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl add example.txt
id=$(p2pctl -q add results.tar)
p2pctl add /data/*.tar --progress json
p2pctl add build-1234.tar --as build.tar
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="+", help="file to share")
    parser.add_argument("--as", dest="name", metavar="NAME", help="the name others see (one PATH only)")
    parser.add_argument("--no-wait", action="store_true", help="do not wait for hashing and publishing")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    paths: list[str] = values.paths
    if values.name is not None and len(paths) > 1:
        raise Fault("usage", "--as names one file, but several are given")
    requests = [
        {"path": os.path.abspath(path), "name": values.name, "wait": not values.no_wait} for path in paths
    ]
    if not values.no_wait:
        invocation.waiting("stopped waiting; hashing and publishing go on", "see: p2pctl list -v")
    answers = invocation.client.each(
        "add",
        requests,
        lambda index, event: invocation.progress.event(index, os.path.basename(paths[index]), event),
    )
    for index, answer in answers:
        invocation.progress.close()
        if isinstance(answer, Fault):
            output.fail(paths[index], answer, len(paths))
            continue
        output.show(VIEW, [answer])
        for warning in answer.get("warnings") or ():
            output.warn(str(warning))
    return output.finish(VIEW, len(paths))


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        if item.get("state") == "hashing":
            output.line(f"Adding {item['name']} to shared files")
        elif item.get("added", True):
            output.line(f"Added {item['name']} to shared files")
        else:
            output.line(f"{item['name']} is shared already")
        if output.verbose:
            output.fields(
                [
                    ("  id", str(item.get("id") or "-")),
                    ("  sha256", str(item.get("sha256") or "-")),
                    ("  size", format_size(item["size_bytes"])),
                    ("  path", str(item.get("path"))),
                    ("  published", "yes" if item.get("published") else "no"),
                ]
            )


VIEW = View(("id", "sha256", "name", "path", "size_bytes", "state", "added", "published"), "id", _human)
