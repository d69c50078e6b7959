"""p2pctl pause ID...: stop downloads until they are resumed, also over a restart of the daemon. What they have is kept."""

from __future__ import annotations

from p2pctl import changing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from p2pctl.invocation import Invocation

EXAMPLES = """
p2pctl pause t-118
p2pctl pause --all
"""

CHANGE = changing.Change("pause", changing.LIVE, "Paused", newest_first=True)
VIEW = CHANGE.view


def arguments(parser: argparse.ArgumentParser) -> None:
    changing.arguments(parser, "all that are not over")


def run(invocation: Invocation) -> int:
    return changing.run(invocation, CHANGE)
