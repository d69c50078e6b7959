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

GOES_ON = {"timeout": "", "no_daemon": " when p2pd starts again"}
"""When a transfer goes on though the wait for it fails for one of these reasons."""


class Waiting:
    """The transfers that are waited for, and whether they move. `again` is the hint for a signal that ends the wait."""

    def __init__(self, invocation: Invocation, transfers: Sequence[str], again: str) -> None:
        self._invocation = invocation
        self._transfers = tuple(transfers)
        self._again = again
        self._paused: set[str] = set()
        invocation.waiting(*self._stopped())

    def event(self, key: int, name: str, transfer: str, event: Item) -> None:
        """Shows it; that one is paused, and what to do about it, is said at once: nothing would come for ever."""
        self._invocation.progress.event(key, name, event)
        paused = event.get("state") == "paused"
        if paused == (transfer in self._paused):
            return
        (self._paused.add if paused else self._paused.discard)(transfer)
        self._invocation.goes_on = self._stopped()
        if paused and self._invocation.output.human:
            self._invocation.progress.close()
            note(safe(f"{transfer} is paused: {self.hint([transfer], '')}"))

    def remain(self, transfers: Sequence[str], when: str = "") -> str:
        """What happens to these without us: `t-1 goes on, t-2 is paused`."""
        moving = [transfer for transfer in transfers if transfer not in self._paused]
        still = [transfer for transfer in transfers if transfer in self._paused]
        words = []
        if moving:
            words.append(f"{self._named(moving)} {'goes' if len(moving) == 1 else 'go'} on{when}")
        if still:
            words.append(f"{self._named(still)} {'is' if len(still) == 1 else 'are'} paused")
        return ", ".join(words)

    def hint(self, transfers: Sequence[str], otherwise: str) -> str:
        """How those of these go on that are paused; `otherwise` if none is."""
        still = [transfer for transfer in transfers if transfer in self._paused]
        if not still or self._many(still):
            return otherwise
        return f"p2pctl resume {' '.join(still)} lets {'it' if len(still) == 1 else 'them'} go on"

    def _stopped(self) -> tuple[str, str]:
        return f"stopped waiting; {self.remain(self._transfers)}", self.hint(self._transfers, self._again)

    def _named(self, transfers: Sequence[str]) -> str:
        return f"{len(transfers)} downloads" if self._many(transfers) else " ".join(transfers)

    def _many(self, transfers: Sequence[str]) -> bool:
        return len(transfers) > NAMED and self._invocation.output.human


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
    output = invocation.output
    again = f"wait again with: p2pctl wait {' '.join(transfers)}"
    if len(transfers) > NAMED and output.human:
        again = "p2pctl transfers --watch shows them"
    waiting = Waiting(invocation, transfers, again)
    answers = invocation.client.each(
        "wait",
        [{"transfer": transfer, "patient": patient} for transfer in transfers],
        lambda index, event: waiting.event(index, waits[index][2], waits[index][1], event),
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
            hint = waiting.hint([transfer], f"wait again with: p2pctl wait {transfer}")
            left = waiting.remain([transfer], GOES_ON[fault.code])
            message = f"{lead(invocation, fault, 'not done')}; {left}"
            fault = Fault(fault.code, message, hint, {"transfer": transfer})
        output.fail(subject, fault, total)


def await_first(invocation: Invocation, transfers: Sequence[str]) -> None:
    """Wait until the first of these is over, and show it."""
    keys = {name: index for index, name in enumerate(dict.fromkeys(transfers))}
    waiting = Waiting(invocation, list(keys), "p2pctl transfers shows them")

    def progress(event: dict[str, Any]) -> None:
        name = str(event.get("transfer"))
        waiting.event(keys.get(name, 0), name, name, event)

    try:
        answer = invocation.client.call("wait", {"any": list(keys)}, progress)
    except Fault as late:
        if late.code not in GOES_ON:
            raise
        message = f"{lead(invocation, late, 'none of them is over')}; {waiting.remain(list(keys), GOES_ON[late.code])}"
        again = f"wait again with: p2pctl wait --any {' '.join(keys)}"
        raise Fault(late.code, message, waiting.hint(list(keys), again)) from late
    invocation.progress.close()
    fault = outcome(answer)
    if fault is None:
        invocation.output.show(FINISHED, [answer])
    else:
        invocation.output.fail(str(answer.get("transfer")), fault, 1)


def lead(invocation: Invocation, fault: Fault, late: str) -> str:
    """Why a wait has ended early."""
    if fault.code != "timeout" or invocation.timeout_s is None:
        return fault.message
    return f"{late} within {invocation.timeout_s:g} s"
