"""p2pctl cancel ID...: give up downloads. One that has ended is left as it is."""

from __future__ import annotations

from p2pctl import changing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from p2pctl.invocation import Invocation

EXAMPLES = """
p2pctl cancel t-118
p2pctl cancel --all
p2pctl -q transfers --state stalled | xargs -r p2pctl cancel
"""

CHANGE = changing.Change("cancel", (*changing.LIVE, "paused"), "Cancelled", newest_first=True)
VIEW = CHANGE.view


def arguments(parser: argparse.ArgumentParser) -> None:
    changing.arguments(parser, "all that are not over, paused ones too")


def run(invocation: Invocation) -> int:
    return changing.run(invocation, CHANGE)
