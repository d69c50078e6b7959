"""p2pctl batch [FILE|-]: command lines from a file or standard input, each answered in order, over one connection."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from p2pctl.render import View
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from contextlib import AbstractContextManager
    from typing import Any, BinaryIO

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

EXAMPLES = """
p2pctl batch commands.txt
printf 'info %s\\n' $ids | p2pctl --jsonl batch --keep-going
p2pctl --json batch commands.txt | jq '.items[] | select(.exit != 0)'
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE|-",
        nargs="?",
        default="-",
        help="one command a line, quoted as in sh; blank lines and # comments are passed over. Default: standard input",
    )
    parser.add_argument(
        "-k", "--keep-going", action="store_true", help="go on after a line that failed (default: stop there)"
    )


def run(invocation: Invocation) -> int:
    from p2pctl import batch

    values, output = invocation.values, invocation.output
    if invocation.session is not None:
        raise Fault("usage", "a batch cannot stand among lines", "p2pctl batch FILE is for the command line")
    with _opened(values.file) as stream:
        if output.human or output.shape == "quiet":
            return batch.run(stream, values, values.keep_going, None).status
        tally = batch.run(stream, values, values.keep_going, lambda item: output.show(VIEW, [item]))
    output.finish(VIEW)
    return tally.status


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    """The lines. Raises Fault."""
    if name == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise Fault(
                "usage", "no lines are given", "give FILE, or lines in a pipe; p2pctl shell is a prompt"
            )
        return nullcontext(sys.stdin.buffer)
    try:
        return open(name, "rb")
    except OSError as error:
        code = "not_found" if isinstance(error, FileNotFoundError) else "storage"
        raise Fault(code, f"cannot read {name}: {error.strerror}") from error


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    """Never called: for people each line shows its own answer."""


VIEW = View(("line", "command", "exit"), "line", _human, more=("document", "output", "error"))
