"""p2pctl peers [REF...]: the devices of the swarm, or those that hold a file; in the shell after a search, what was found."""

from __future__ import annotations

from p2pctl.render import View, note
from p2pctl.units import format_address, parse_count
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl peers
p2pctl peers example.txt
p2pctl peers a.txt b.txt
p2pctl --tsv peers --columns host,port
"""


ASKED_FOR = 100  # finds of which the shell shows the peers


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("refs", metavar="REF", nargs="*", help="only those that hold one of these files")
    parser.add_argument(
        "--all", action="store_true", help="all of the swarm (in the shell, also after a search)"
    )
    parser.add_argument("--limit", metavar="N", type=parse_count, help="at most N devices")
    parser.add_argument("--cursor", metavar="C", help="go on after an earlier page (at most one REF)")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    refs: list[str] = values.refs
    if values.all and refs:
        raise Fault("usage", "either files or --all")
    if values.cursor is not None and len(refs) > 1:
        raise Fault("usage", "--cursor is for one file", "ask for each file by itself")
    session = invocation.session
    if not refs and not values.all and values.cursor is None and session and session.found is not None:
        refs = [str(item["id"]) for item in session.found[:ASKED_FOR]]
        if output.human:
            first = f"the first {ASKED_FOR} files of " if len(session.found) > ASKED_FOR else ""
            note(f"who has {first}what the last search found; peers --all shows all devices")
        if not refs:
            return output.finish(VIEW)
    if len(refs) > 1:
        return _several(invocation, refs)
    ref = refs[0] if refs else None
    for page in invocation.client.pages("peers", {"ref": ref}, values.limit, values.cursor):
        output.page(VIEW, page)
    return output.finish(VIEW)


def _several(invocation: Invocation, refs: list[str]) -> int:
    """Those that hold one of these, each once."""
    output, left = invocation.output, invocation.values.limit
    known: dict[str, dict[str, Any]] = {}
    for index, answer in invocation.client.each("peers", [{"ref": ref} for ref in refs]):
        if isinstance(answer, Fault):
            output.fail(refs[index], answer, len(refs))
            continue
        for warning in answer.get("warnings") or ():
            output.warn(str(warning))
        for item in answer["items"]:
            known.setdefault(str(item["device_id"]), item)
    output.show(VIEW, list(known.values())[:left])
    return output.finish(VIEW, len(refs))


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    rows = []
    for item in items:
        files = item.get("files")
        device = str(item["device_id"]) + (" (this device)" if item.get("self") else "")
        rows.append(
            [format_address(str(item["host"]), item["port"]), "-" if files is None else str(files), device]
        )
    output.table(("ADDRESS", "?>FILES", "DEVICE"), rows)


VIEW = View(("device_id", "host", "port", "self", "files"), "device_id", _human, "no peers are known")
