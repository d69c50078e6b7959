"""p2pctl want TEXT|REF: download something as soon as somebody has it; with --wait until it is done."""

from __future__ import annotations

from p2pctl import transfer
from p2pctl.commands.download import target
from p2pctl.commands.search import extension
from p2pctl.commands.wants import COLUMNS
from p2pctl.render import View, note
from p2pctl.units import parse_rate, parse_size
from protocol.control import fault_of
from protocol.display import safe
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl want nightly build --ext tar -o /data/
p2pctl want 7f3a91c2 --wait
p2pctl want sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
path=$(p2pctl -q want name:report.pdf --wait --timeout 8h) || exit
"""

UNHEARD = ("auth", "refused")
"""No tracker listens to this device: nothing comes until a person has done something."""

EXISTS = ("fail", "rename", "overwrite")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "text",
        metavar="TEXT|REF",
        nargs="+",
        help="words as of a search (the best hit is taken), or an id, 8 or more digits of it, sha256:HEX, name:NAME",
    )
    parser.add_argument("--ext", metavar="E", help="only names that end with .E")
    parser.add_argument("--min-size", metavar="N", type=parse_size, help="octets, or with K, M, G")
    parser.add_argument("--max-size", metavar="N", type=parse_size, help="octets, or with K, M, G")
    parser.add_argument(
        "-o", dest="output", metavar="FILE|DIR/", help="file to write, or directory to write into"
    )
    parser.add_argument("--prefix", metavar="P", help="begin of the file's name; default: downloaded_")
    parser.add_argument(
        "--exists", choices=EXISTS, default="fail", help="if the file is there by then; default: fail"
    )
    parser.add_argument("--limit", metavar="RATE", help="octets a second, such as 500K or 2M")
    parser.add_argument("--no-share", action="store_true", help="do not share the file when it is done")
    parser.add_argument("--wait", action="store_true", help="wait until it has come and is whole")


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    if values.output == "-":
        raise Fault("usage", "what is not there yet cannot go to standard output", "use -o FILE or -o DIR/")
    directory, file = target(values.output, several=False)
    if file is not None and values.prefix is not None:
        raise Fault(
            "usage", "--prefix has no effect on -o FILE", "give -o a directory, or leave --prefix out"
        )
    params = {
        "text": " ".join(values.text),
        "ext": extension(values.ext),
        "min_size_bytes": values.min_size,
        "max_size_bytes": values.max_size,
        "directory": directory,
        "file": file,
        "prefix": values.prefix,
        "exists": values.exists,
        "share": False if values.no_share else None,
        "limit_bytes_per_s": None if values.limit is None else parse_rate(values.limit),
    }
    item = invocation.client.call("want", params)
    if not values.wait:
        if item.get("state") == "wanted" and item.get("error"):
            output.warn(f"{fault_of(item['error']).message}; {item.get('want')} stays wanted")
        output.show(VIEW, [item])
        return output.finish(VIEW)
    name = str(item.get("want"))
    try:
        _come(invocation, item, name)
    except Fault as fault:
        if fault.code in UNHEARD:
            raise Fault(
                fault.code,
                f"{fault.message}; {name} stays wanted",
                fault.hint,
                {**fault.details, "want": name},
            ) from fault
        if fault.code not in transfer.GOES_ON or "transfer" in fault.details:
            raise
        stays = "stays wanted" if fault.code == "timeout" else "stays wanted, also when p2pd starts again"
        hint = f"p2pctl wants lists it, p2pctl unwant {name} gives it up"
        raise Fault(fault.code, f"{fault.message}; {name} {stays}", hint, {"want": name}) from fault
    return output.finish(COME)


def _come(invocation: Invocation, item: dict[str, Any], name: str) -> None:
    """Waits, and shows what came. Raises Fault when it failed, or the time is over."""
    invocation.waiting(f"stopped waiting; {name} stays wanted", f"p2pctl unwant {name} gives it up")
    if invocation.output.human:
        note(safe(f"Waiting for {item.get('what')} ({name})"))
    item = invocation.client.call("await_want", {"want": name}, lambda event: None)
    if item.get("transfer") is None:
        fault = fault_of(item.get("error") or {})
        raise Fault(fault.code, fault.message, fault.hint, {**fault.details, "want": name})
    found = str(item["transfer"])
    again = f"wait again with: p2pctl wait {found}"
    waiting = transfer.Waiting(invocation, [found], again)
    try:
        answer = invocation.client.call(
            "wait", {"transfer": found}, lambda event: waiting.event(0, found, found, event)
        )
    except Fault as late:
        if late.code not in transfer.GOES_ON:
            raise
        left = waiting.remain([found], transfer.GOES_ON[late.code])
        message = f"{transfer.lead(invocation, late, 'not done')}; {left}"
        raise Fault(
            late.code, message, waiting.hint([found], again), {"want": name, "transfer": found}
        ) from late
    invocation.progress.close()
    if (failed := transfer.outcome(answer)) is not None:
        raise failed
    if invocation.output.human:
        note(safe(transfer.summary(answer)))
    invocation.output.show(
        COME, [{**item, "transfer_state": answer.get("state"), "path": answer.get("path")}]
    )


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        output.line(str(item["want"]))
        note(safe(f"Wanted: {item['what']}, into {item['directory']}"))


def _path(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        output.line(str(item["path"]))


VIEW = View(COLUMNS, "want", _human)
COME = View(COLUMNS, "path", _path)
"""With --wait."""
