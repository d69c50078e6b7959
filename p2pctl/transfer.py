"""How a transfer is awaited and shown: shared by `download`, `wait`, `transfers` and `cancel`.

The rule: a transfer that did not end well is a failure with the daemon's own code, so scripts see the same
status from `download` and from `wait`.
"""

from __future__ import annotations

from p2pctl.render import View, note
from p2pctl.units import format_duration, format_rate, format_size
from protocol.control import fault_of
from protocol.display import safe
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

    Item = dict[str, Any]

COLUMNS = (
    "transfer",
    "id",
    "state",
    "size_bytes",
    "received_bytes",
    "rate_bytes_per_s",
    "eta_s",
    "sources",
    "name",
    "path",
)

MORE = (
    "sha256",
    "files",
    "resumed_bytes",
    "limit_bytes_per_s",
    "from",
    "error",
    "retries",
    "retry_at",
    "created_at",
    "finished_at",
    "duration_s",
    "verified",
    "sha256_checked",
)
"""The other fields of a transfer."""

NAMED = 8  # transfers that a person is told one by one when the wait for them is stopped

GOES_ON = {"timeout": "goes on", "no_daemon": "goes on when p2pd starts again"}
"""What happens to a transfer when the wait for it fails for one of these reasons."""


def finished(output: Output, items: list[Item]) -> None:
    """The path on stdout, how it went on stderr."""
    for item in items:
        output.line(str(item["path"]))
        note(safe(summary(item)))


FINISHED = View(COLUMNS, "path", finished, more=MORE)


def summary(item: Item) -> str:
    """`Downloaded example.txt from 192.168.1.100:8001 (1.0 KiB in 0.1 s, 10.0 KiB/s, verified)`."""
    if item.get("state") == "skipped":
        return f"Skipped {item['name']}: it is there already"
    sources = [str(source) for source in item.get("from") or ()]
    shown = ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
    facts = [f"{format_size(item['size_bytes'])} in {format_duration(item.get('duration_s') or 0.0)}"]
    if item.get("rate_bytes_per_s"):
        facts.append(format_rate(item["rate_bytes_per_s"]))
    if item.get("resumed_bytes"):
        facts.append(f"{format_size(item['resumed_bytes'])} were here already")
    if item.get("verified"):
        facts.append("verified")
    return f"Downloaded {item['name']}{' from ' + shown if shown else ''} ({', '.join(facts)})"


def outcome(item: Item) -> Fault | None:
    """Why a final transfer is a failure; None when its file is there."""
    if item.get("state") in ("done", "skipped"):
        return None
    details: dict[str, object] = {"transfer": item.get("transfer"), "id": item.get("id")}
    if item.get("state") == "cancelled":
        return Fault("failure", f"{item.get('transfer')} was cancelled", "", details)
    fault = fault_of(item.get("error") or {})
    return Fault(fault.code, fault.message, fault.hint, {**details, **fault.details})


def await_all(
    invocation: Invocation, waits: Sequence[tuple[str, str, str]], total: int, *, patient: bool = True
) -> None:
    """Wait for transfers, `(subject, transfer, name)` each, and show each as it ends; one that failed and is tried again by itself
    counts as failed unless `patient`."""
    if not waits:
        return
    transfers = [transfer for _, transfer, _ in waits]
    if len(transfers) > NAMED and invocation.output.human:
        goes_on = f"stopped waiting; {len(transfers)} downloads go on"
        again = "p2pctl transfers --watch shows them"
    else:
        goes_on = f"stopped waiting; {' '.join(transfers)} {'go' if len(transfers) > 1 else 'goes'} on"
        again = f"wait again with: p2pctl wait {' '.join(transfers)}"
    invocation.waiting(goes_on, again)
    output = invocation.output
    told: set[int] = set()
    answers = invocation.client.each(
        "wait",
        [{"transfer": transfer, "patient": patient} for transfer in transfers],
        lambda index, event: _progress(invocation, index, waits[index][2], event, told),
    )
    for index, answer in answers:
        subject, transfer, _ = waits[index]
        fault = answer if isinstance(answer, Fault) else outcome(answer)
        invocation.progress.over(index)
        invocation.progress.close()
        if fault is None:
            assert isinstance(answer, dict)
            output.show(FINISHED, [answer])
            continue
        if answer is fault and fault.code in GOES_ON:
            hint = f"wait again with: p2pctl wait {transfer}"
            lead = _lead(invocation, fault, "not done")
            fault = Fault(
                fault.code, f"{lead}; {transfer} {GOES_ON[fault.code]}", hint, {"transfer": transfer}
            )
        output.fail(subject, fault, total)


def await_first(invocation: Invocation, transfers: Sequence[str]) -> None:
    """Wait until the first of these is over, and show it."""
    invocation.waiting(f"stopped waiting; {' '.join(transfers)} go on", "p2pctl transfers shows them")
    told: set[int] = set()
    keys = {name: index for index, name in enumerate(dict.fromkeys(transfers))}

    def progress(event: dict[str, Any]) -> None:
        name = str(event.get("transfer"))
        _progress(invocation, keys.get(name, 0), name, event, told)

    try:
        answer = invocation.client.call("wait", {"any": list(keys)}, progress)
    except Fault as late:
        if late.code not in GOES_ON:
            raise
        lead = _lead(invocation, late, "none of them is over")
        again = f"wait again with: p2pctl wait --any {' '.join(keys)}"
        raise Fault(
            late.code, f"{lead}; {' '.join(keys)} {GOES_ON[late.code].replace('goes', 'go')}", again
        ) from late
    invocation.progress.close()
    fault = outcome(answer)
    if fault is None:
        invocation.output.show(FINISHED, [answer])
    else:
        invocation.output.fail(str(answer.get("transfer")), fault, 1)


def _lead(invocation: Invocation, fault: Fault, late: str) -> str:
    """Why a wait has ended early."""
    if fault.code != "timeout" or invocation.timeout_s is None:
        return fault.message
    return f"{late} within {invocation.timeout_s:g} s"


def _progress(invocation: Invocation, key: int, name: str, event: dict[str, Any], told: set[int]) -> None:
    """Shows it; that one is paused, and what to do about it, is said once: nothing would come for ever."""
    invocation.progress.event(key, name, event)
    if event.get("state") == "paused" and key not in told and invocation.output.human:
        told.add(key)
        invocation.progress.close()
        note(safe(f"{event.get('transfer')} is paused: p2pctl resume {event.get('transfer')} lets it go on"))
