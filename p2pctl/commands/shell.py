"""p2pctl shell: commands at a prompt, or line by line from a pipe. Also what `p2pctl` alone does on a terminal."""

from __future__ import annotations

import sys

from p2pctl.render import note
from protocol.display import safe
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from p2pctl.invocation import Invocation

EXAMPLES = """
p2pctl shell
p2pctl shell < commands.txt
printf '%s\\n' 'search report' 'download #1' | p2pctl shell
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Takes none; options for every command hold for each line."""


def run(invocation: Invocation) -> int:
    from signal import SIGTERM, signal

    from p2pctl.invocation import terminate
    from p2pctl.shell import Shell, piped

    if invocation.session is not None:
        raise Fault("usage", "this is a shell already", "help lists the commands")
    if invocation.values.header:
        raise Fault("usage", "--header is for one command", "give it in its line")
    previous = signal(SIGTERM, terminate)
    try:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return Shell(invocation, piped, False).run()
        from p2pctl import history, prompting

        kept = history.History(history.place(invocation.environ))
        shell = Shell(invocation, piped, True)
        shell.read = prompting.make(kept, shell.complete, invocation.color)
        status = shell.run()
        if kept.trouble:
            note(f"p2pctl: {safe(kept.trouble)}")
        return status
    finally:
        signal(SIGTERM, previous)
