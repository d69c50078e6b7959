"""p2pctl add PATH...: share files and folders. Many files are many requests, a window of them under way."""

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
p2pctl add -r photos --exclude '*.tmp' --exclude cache/
p2pctl add -r photos --dry-run
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="+", help="file to share")
    parser.add_argument("--as", dest="name", metavar="NAME", help="the name others see (one PATH only)")
    parser.add_argument(
        "-r",
        "--recursive",
        action="store_true",
        help="share folders, each as one thing and its files one by one",
    )
    parser.add_argument(
        "--exclude",
        dest="excludes",
        metavar="GLOB",
        action="append",
        default=[],
        help="with -r: leave out names, or with a / in it paths, like this; GLOB/ means folders only (repeatable)",
    )
    parser.add_argument(
        "--hidden", action="store_true", help="with -r: share names with a dot in front as well"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be shared and what not")
    parser.add_argument("--no-wait", action="store_true", help="do not wait for hashing and publishing")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    paths: list[str] = values.paths
    if values.name is not None and len(paths) > 1:
        raise Fault("usage", "--as names one file, but several are given")
    for option in ("excludes", "hidden"):
        if getattr(values, option) and not values.recursive:
            word = "--exclude" if option == "excludes" else "--hidden"
            raise Fault("usage", f"{word} is for folders", "share a folder with -r")
    if "" in values.excludes:
        raise Fault("usage", "--exclude is empty", "is a variable not set?")
    requests = [_request(values, path) for path in paths]
    if not values.no_wait and not values.dry_run:
        invocation.waiting("stopped waiting; hashing and publishing go on", "see: p2pctl list -v")
    answers = invocation.client.each(
        "add",
        requests,
        lambda index, event: invocation.progress.event(index, os.path.basename(paths[index]), event),
    )
    total = len(paths)
    for index, path in enumerate(paths):
        invocation.progress.expect(index, os.path.basename(path), {"state": "queued"})
    for index, answer in answers:
        invocation.progress.over(index)
        invocation.progress.close()
        if isinstance(answer, Fault):
            output.fail(paths[index], _explained(paths[index], answer), total)
            continue
        view = PLAN if values.dry_run else VIEW
        output.show(view, [answer])
        for warning in answer.get("warnings") or ():
            output.warn(str(warning))
        total += report_failed(output, answer)
    return output.finish(VIEW, total)


def _request(values: argparse.Namespace, path: str) -> dict[str, Any]:
    request = {"path": os.path.abspath(path), "name": values.name, "wait": not values.no_wait}
    if values.dry_run:
        request["dry_run"] = True
    if values.recursive:
        request |= {"recursive": True, "excludes": values.excludes, "hidden": values.hidden}
    return request


def _explained(path: str, fault: Fault) -> Fault:
    """The fault, with a better hint where we see what the daemon does not."""
    if fault.code != "not_found" or not os.path.exists(path):
        return fault
    hint = "it is there for you: a daemon that is a service sees no /tmp but its own, and what else its unit hides"
    return Fault(fault.code, f"{os.path.abspath(path)} does not exist for the daemon", hint, fault.details)


def report_failed(output: Output, item: dict[str, Any]) -> int:
    """Says which files of a folder could not be shared; how many."""
    shown = item.get("failed") or ()
    count = int(item.get("failed_count") or 0)
    for one in shown:
        fault = Fault("storage", f"not shared: {one['reason']}", "", {"path": one["path"]})
        output.fail(f"{item['name']}/{one['path']}", fault, count + 1)
    if count > len(shown):
        output.fail(
            str(item["name"]), Fault("storage", f"{count - len(shown)} more are not shared"), count + 1
        )
    return count


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        if item.get("files") is not None:
            _folder(output, item)
        elif item.get("state") == "hashing":
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


def _folder(output: Output, item: dict[str, Any]) -> None:
    if item.get("state") == "hashing":
        output.line(f"Adding folder {item['name']} to shared files")
        return
    size = f"{_files(item['files'])}, {format_size(item['size_bytes'])}"
    if item.get("added", True):
        output.line(f"Added folder {item['name']} to shared files ({size})")
    else:
        output.line(f"folder {item['name']} is shared already ({size})")
    if left := item.get("left_out_count"):
        output.line(f"  {_files(left, 'entry', 'entries')} left out; --dry-run lists them")


def _files(count: int, one: str = "file", several: str = "files") -> str:
    return f"{count} {one if count == 1 else several}"


def _plan(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        if item.get("files") is None:
            output.line(f"Would share {item['name']} ({item['size_bytes']} bytes)")
            continue
        output.line(
            f"Would share folder {item['name']}: {_files(item['files'])}, {format_size(item['size_bytes'])}"
            f" ({item['size_bytes']} bytes)"
        )
        for one in item.get("left_out") or ():
            output.line(f"  leaves out {one['path']}: {one['reason']}")
        if (more := item["left_out_count"] - len(item["left_out"])) > 0:
            output.line(f"  leaves out {more} more")


MORE = (
    "files",
    "shared_at",
    "warnings",
    "new",
    "changed",
    "vanished",
    "new_count",
    "changed_count",
    "vanished_count",
    "previous_id",
    "left_out",
    "left_out_count",
    "failed",
    "failed_count",
)

VIEW = View(
    ("id", "sha256", "name", "path", "size_bytes", "state", "added", "published"), "id", _human, more=MORE
)

PLAN = View(("name", "path", "size_bytes", "files", "left_out_count", "failed_count"), "path", _plan)
