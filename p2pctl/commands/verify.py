"""p2pctl verify [REF...|--all]: read files again and compare them with their hashes; with --repair fetch what is damaged.

The daemon stops reading when this process ends; what was repaired by then stays repaired.
"""

from __future__ import annotations

from p2pctl.commands.remove import by_path
from p2pctl.exitcodes import OK
from p2pctl.render import View, note
from p2pctl.units import format_size
from protocol.control import fault_of
from protocol.display import safe
from protocol.errors import EXIT_STATUS, Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl verify --all
p2pctl verify example.txt --repair
p2pctl verify /data/big.iso
p2pctl verify t-118
p2pctl --json verify --all --repair
p2pctl -q verify --all
"""

NOTED = ("changed", "missing", "unknown")
"""States that are told and are no failure when everything is verified: somebody did that."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "refs",
        metavar="REF",
        nargs="*",
        help="id, 8 or more digits of it, sha256:HEX, name, path (./NAME, /WHOLE/PATH) or transfer",
    )
    parser.add_argument("--all", action="store_true", help="all that is shared and was downloaded here")
    parser.add_argument("--repair", action="store_true", help="fetch damaged pieces again from the swarm")
    parser.add_argument(
        "--restore-changed",
        action="store_true",
        help="with --repair: write the old octets also over what somebody changed on purpose",
    )


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    if values.all == bool(values.refs):
        raise Fault("usage", "either REFs or --all", "p2pctl help verify shows how")
    if values.restore_changed and not values.repair:
        raise Fault("usage", "--restore-changed needs --repair")
    found: list[Fault] = []

    def event(event: dict[str, Any]) -> None:
        for item in event.pop("items", None) or ():
            if output.human and item.get("state") != "good":
                invocation.progress.close()  # what is printed must not stand in the bar
            _show(output, item, found, everything=values.all)
        invocation.progress.event(0, str(event.get("name") or ""), event)

    invocation.waiting(
        "stopped verifying; what was repaired stays so", "p2pctl verify begins again from the start"
    )
    params = {
        "refs": [by_path(ref) for ref in values.refs] or None,
        "all": values.all,
        "repair": values.repair,
        "restore_changed": values.restore_changed,
    }
    sums = invocation.client.call("verify", params, event)
    invocation.progress.close()
    if output.human:
        note(_summary(sums))
    output.finish(VIEW, max(2, int(sums.get("files") or 0)))
    return _status(found)


def _show(output: Output, item: dict[str, Any], found: list[Fault], *, everything: bool) -> None:
    state = item.get("state")
    good = state in ("good", "repaired")
    if not (output.shape == "quiet" and good) and not (
        output.human and state == "good" and not output.verbose
    ):
        output.show(VIEW, [item])
    if good:
        return
    fault = fault_of(item.get("error") or {})
    if everything and state in NOTED:
        output.warn(f"{item.get('path')}: {state}: {fault.message}")
        return
    if state == "damaged" and fault.code != "integrity":  # why it could not be repaired
        message = f"damaged, and not repaired: {fault.message}"
        fault = Fault("integrity", message, fault.hint, {**fault.details, "reason": fault.code})
    found.append(fault)
    output.fail(str(item.get("path")), fault, 2)


def _status(found: list[Fault]) -> int:
    """9 when something is damaged, whatever else there is; else the one reason, or 12."""
    codes = {fault.code for fault in found}
    if not codes:
        return OK
    if "integrity" in codes:
        return EXIT_STATUS["integrity"]
    return found[0].exit_status if len(codes) == 1 else EXIT_STATUS["partial"]


def _summary(sums: dict[str, Any]) -> str:
    states = ("good", "repaired", "damaged", "changed", "missing", "unreadable", "unknown")
    counts = ", ".join(f"{sums[state]} {state}" for state in states if sums.get(state))
    files = int(sums.get("files") or 0)
    return f"Verified {files} file{'' if files == 1 else 's'} ({format_size(sums.get('size_bytes') or 0)}): {counts or 'nothing'}"


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        bad = item.get("bad_pieces") or 0
        pieces = f" ({bad} of {item.get('pieces')} pieces)" if bad else ""
        output.line(safe(f"{item['state']}  {item['path']}{pieces}"))


VIEW = View(
    ("id", "state", "size_bytes", "pieces", "bad_pieces", "kind", "transfer", "name", "path"),
    "path",
    _human,
    more=("bad", "error"),
)
