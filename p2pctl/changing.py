"""What `pause`, `resume`, `retry` and `cancel` have in common: IDs or --all, one request each, a note for what was so already.

The rule: each is idempotent. A transfer that is where it should be is a note on stderr and no failure; one that is unknown is.
"""

from __future__ import annotations

from p2pctl.render import View, note
from p2pctl.transfer import COLUMNS, MORE
from protocol.display import safe
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

    Item = dict[str, Any]


class Change:
    """One such command. `states`: those that --all means; `newest_first`: whether the last in the queue is changed first, so that no
    place is given to one that is next to be stopped; `done` is the word for what was changed."""

    def __init__(self, method: str, states: tuple[str, ...], done: str, *, newest_first: bool) -> None:
        self.method = method
        self.states = states
        self.done = done
        self.newest_first = newest_first
        self.view = View(COLUMNS, "transfer", _human(self), more=(*MORE, "changed"))


LIVE = (
    "queued",
    "locating",
    "downloading",
    "stalled",
    "verifying",
    "retrying",
    "disk_full",
    "missing_storage",
)
"""States of a transfer that is neither over nor paused."""


def arguments(parser: argparse.ArgumentParser, every: str) -> None:
    """IDs or --all; `every` says what --all means."""
    parser.add_argument("transfers", metavar="ID", nargs="*", help="transfer, such as t-118")
    parser.add_argument("--all", action="store_true", help=every)


def run(invocation: Invocation, change: Change) -> int:
    """The whole command; its exit status."""
    values, output = invocation.values, invocation.output
    names: list[str] = values.transfers
    if values.all and names:
        raise Fault("usage", "either IDs or --all")
    if not values.all and not names:
        raise Fault("usage", "no transfer was named", "give IDs as p2pctl transfers shows them, or --all")
    if values.all:
        pages = invocation.client.pages("transfers", {"states": list(change.states)}, None, None)
        names = [str(item.get("transfer")) for page in pages for item in page["items"]]
        if not change.newest_first:
            names.reverse()
    view = change.view
    for index, answer in invocation.client.each(change.method, [{"transfer": name} for name in names]):
        if isinstance(answer, Fault):
            output.fail(names[index], answer, len(names))
            continue
        output.show(view, [answer])
        if not answer.get("changed", True) and not values.quiet:
            output.warn(_unchanged(answer))
    if values.all and not names and output.human:
        note(f"nothing to {change.method}")
    return output.finish(view, max(1, len(names)))


def _human(change: Change) -> Callable[[Output, list[Item]], None]:
    def show(output: Output, items: list[Item]) -> None:
        for item in items:
            if item.get("changed", True):
                output.line(f"{change.done} {item['transfer']} ({item['name']})")

    return show


def _unchanged(item: Item) -> str:
    state = str(item.get("state"))
    hints = {
        "paused": f"; p2pctl resume {item['transfer']} lets it go on",
        "failed": f"; p2pctl retry {item['transfer']} tries it again",
    }
    had = "had ended" if state in ("done", "failed", "cancelled") else "stays as it was"
    return safe(f"{item['transfer']} ({item['name']}) {had}: {state}{hints.get(state, '')}")
