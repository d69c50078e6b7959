"""p2pctl download REF...: fetch files from all who hold them, and wait for them unless told otherwise."""

from __future__ import annotations

import os

from p2pctl import transfer
from p2pctl.render import View, note
from p2pctl.units import parse_rate
from protocol.control import FINAL_STATES
from protocol.display import safe
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl download example.txt
p2pctl download 7f3a91c2 -o /data/
p2pctl download name:report.pdf -o report.pdf --exists overwrite
path=$(p2pctl -q download "$id" --timeout 10m) || exit
p2pctl download big.iso --no-wait
p2pctl download big.iso --limit 2M
p2pctl download backup.tar -o - | tar x
"""

EXISTS = ("fail", "skip", "rename", "overwrite")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "refs", metavar="REF", nargs="+", help="id, 8 or more digits of it, sha256:HEX, or name"
    )
    parser.add_argument(
        "-o",
        dest="output",
        metavar="FILE|DIR/|-",
        help="file to write, directory to write into, or - for standard output",
    )
    parser.add_argument("--prefix", metavar="P", help="begin of the file's name; default: downloaded_")
    parser.add_argument(
        "--exists", choices=EXISTS, default="fail", help="if the file is there; default: fail (exit 11)"
    )
    parser.add_argument(
        "--limit",
        metavar="RATE",
        help="octets a second for each, such as 500K or 2M; off: no limit of its own",
    )
    parser.add_argument("--no-share", action="store_true", help="do not share the file when it is done")
    wait = parser.add_mutually_exclusive_group()
    wait.add_argument("--wait", action="store_true", help="wait until it is done (the default)")
    wait.add_argument("--no-wait", action="store_true", help="print the transfer's id at once")


def target(output: str | None, several: bool) -> tuple[str, str | None]:
    """What -o means: (absolute directory, file name or None for prefix + name). Raises Fault usage."""
    if output is None:
        return os.getcwd(), None
    if not output:
        raise Fault("usage", "-o is empty", "use -o FILE or -o DIR/")
    path = os.path.abspath(output)
    if os.path.isdir(path):
        return path, None
    if output.endswith("/"):
        raise Fault("usage", f"there is no directory {output}", f"make it first: mkdir -p {output}")
    if several:
        raise Fault("usage", f"several files cannot all be {output}", "give -o a directory that exists")
    return os.path.dirname(path), os.path.basename(path)


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    refs: list[str] = values.refs
    if values.output == "-":
        return _stream(invocation, refs)
    directory, file = target(values.output, len(refs) > 1)
    if file is not None and values.prefix is not None:
        raise Fault(
            "usage", "--prefix has no effect on -o FILE", "give -o a directory, or leave --prefix out"
        )
    params: dict[str, Any] = {
        "directory": directory,
        "file": file,
        "prefix": "downloaded_" if values.prefix is None else values.prefix,
        "exists": values.exists,
        "share": not values.no_share,
    }
    if values.limit is not None:
        params["limit_bytes_per_s"] = parse_rate(values.limit)
    view = BEGUN if values.no_wait else transfer.FINISHED
    waits: list[tuple[str, str, str]] = []
    for index, answer in invocation.client.each("download", [{"ref": ref, **params} for ref in refs]):
        if isinstance(answer, Fault):
            output.fail(refs[index], answer, len(refs))
        elif values.no_wait:
            output.show(view, [answer])
        elif answer.get("state") in FINAL_STATES and (fault := transfer.outcome(answer)) is not None:
            output.fail(refs[index], fault, len(refs))
        elif answer.get("state") in FINAL_STATES:
            output.show(view, [answer])
        else:
            invocation.progress.expect(len(waits), refs[index], answer)
            waits.append((refs[index], str(answer.get("transfer")), str(answer.get("name"))))
    transfer.await_all(invocation, waits, len(refs), patient=False)
    return output.finish(view, len(refs))


def _stream(invocation: Invocation, refs: list[str]) -> int:
    """To standard output. Raises Fault usage for what has no meaning there."""
    from p2pctl import stream

    values = invocation.values
    if len(refs) > 1:
        raise Fault("usage", "several files cannot all go to standard output", "give one REF")
    for given, flag in (
        (values.no_wait, "--no-wait"),
        (values.prefix is not None, "--prefix"),
        (values.exists != "fail", "--exists"),
        (values.tsv, "--tsv"),
    ):
        if given:
            raise Fault("usage", f"{flag} has no meaning with -o -", "leave it out, or use -o FILE")
    return stream.run(invocation, refs[0], None if values.limit is None else parse_rate(values.limit))


def _begun(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        if item.get("transfer") is None:
            note(safe(transfer.summary(item)))
            continue
        output.line(str(item["transfer"]))
        note(safe(f"Downloading {item['name']} to {item['path']}"))


BEGUN = View(transfer.COLUMNS, "transfer", _begun)
VIEW = transfer.FINISHED
