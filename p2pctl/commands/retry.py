"""p2pctl retry ID...: try failed downloads again, and those that wait for a later try or for their disk at once."""

from __future__ import annotations

from p2pctl import changing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from p2pctl.invocation import Invocation

EXAMPLES = """
p2pctl retry t-118
p2pctl retry --all
p2pctl retry t-118 && p2pctl wait t-118
"""

CHANGE = changing.Change(
    "retry",
    ("failed", "retrying", "stalled", "disk_full", "missing_storage"),
    "Trying again",
    newest_first=False,
)
VIEW = CHANGE.view


def arguments(parser: argparse.ArgumentParser) -> None:
    changing.arguments(parser, "all that failed or wait; not those that were cancelled")


def run(invocation: Invocation) -> int:
    return changing.run(invocation, CHANGE)
