"""p2pctl resume ID...: let paused downloads go on, each at the place in the queue that it had."""

from __future__ import annotations

from p2pctl import changing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from p2pctl.invocation import Invocation

EXAMPLES = """
p2pctl resume t-118
p2pctl resume --all
"""

CHANGE = changing.Change("resume", ("paused",), "Resumed", newest_first=False)
VIEW = CHANGE.view


def arguments(parser: argparse.ArgumentParser) -> None:
    changing.arguments(parser, "all that are paused")


def run(invocation: Invocation) -> int:
    return changing.run(invocation, CHANGE)
