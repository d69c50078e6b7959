"""The shell: reads lines, runs each as p2pctl would, and goes on whatever happens.

The rule: a failing line says why and the next one is read; leaving the shell never stops the daemon. On a terminal Ctrl-C ends what is
waited for or clears the line, Ctrl-D leaves. Lines from a pipe or file are read without prompt, and the status is that of the last one that
failed. Knows no terminal library: `read` gives the next line, or raises EOFError at the end.
"""

from __future__ import annotations

import sys

from p2pctl import cli
from p2pctl.client import Client, socket_paths
from p2pctl.exitcodes import BROKEN_PIPE, INTERRUPTED, OK, TERMINATED
from p2pctl.render import note, report
from p2pctl.screen import terminal_size
from p2pctl.session import Session, words_of
from protocol.display import safe
from protocol.errors import Fault
from protocol.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.offering import Offer

LEAVE = ("quit", "exit")
WORDS = {"clear": "empty the screen", "quit": "leave the shell; the daemon goes on", "exit": "as quit"}
CLEAR = "\x1b[H\x1b[2J\x1b[3J"  # also what was scrolled away, as clear(1)
ASK_SECONDS = 0.5  # for completion: a daemon that is slow offers nothing
GREETING_SECONDS = 3.0
MARGIN = 21  # before what a command does, in help


class Shell:
    """`read` gives lines; `interactive`: a person reads what is said."""

    def __init__(self, invocation: Invocation, read: Callable[[], str], interactive: bool) -> None:
        self._invocation = invocation
        self.read = read
        self._interactive = interactive
        self.session = Session(invocation.values, numbered=True, expands=True)

    def run(self) -> int:
        """Until the end; the exit status."""
        try:
            if self._interactive and not self._invocation.values.quiet:
                self._greet()
            return self._loop()
        except BrokenPipeError:
            return BROKEN_PIPE if not self._interactive else OK
        finally:
            self.session.close()

    def _loop(self) -> int:
        failed = OK
        waiting: list[str] = []  # several lines that were pasted at once
        while True:
            try:
                line = waiting.pop(0) if waiting else self.read()
            except KeyboardInterrupt:
                if not self._interactive:
                    return INTERRUPTED
                continue
            except EOFError:
                return OK if self._interactive else failed
            line, *more = line.split("\n")
            waiting = [*more, *waiting]
            try:
                words = words_of(line)
            except Fault as fault:
                report(fault, self._invocation.output.shape)
                failed = fault.exit_status
                continue
            if words and words[0] in LEAVE and len(words) == 1:
                return OK if self._interactive else failed
            status = self._line(words) if words else OK
            if status == TERMINATED or (status == INTERRUPTED and not self._interactive):
                return status
            if status == INTERRUPTED:
                waiting.clear()
            failed = status or failed

    def _line(self, words: list[str]) -> int:
        if words == ["help"] and self._invocation.output.human:
            sys.stdout.write(overview(terminal_size(sys.stdout)[0]))
            sys.stdout.flush()
            return OK
        if words == ["clear"]:
            if sys.stdout.isatty() and self._invocation.environ.get("TERM", "dumb") != "dumb":
                sys.stdout.write(CLEAR)
                sys.stdout.flush()
            return OK
        try:
            return cli.run_line(words, self.session)
        except KeyboardInterrupt:  # a second one, while the first was being dealt with
            return INTERRUPTED

    # -- for people -----------------------------------------------------------------------------------

    def _greet(self) -> None:
        note(f"Welcome to the P2P shell {VERSION}. Type help for the commands, quit to leave.")
        client = self._client(GREETING_SECONDS)
        try:
            status = client.call("status", {})
        except Fault as fault:
            report(fault, "human")
            note("  commands work as soon as it runs")
            return
        except KeyboardInterrupt:
            return
        finally:
            client.close()
        for text in _situation(status):
            note(safe(text))

    def complete(self, before: str) -> tuple[int, list[Offer]]:
        """What Tab offers after this text."""
        from p2pctl import offering
        from p2pctl.known import asking

        client = self._client(ASK_SECONDS)
        try:
            return offering.complete(before, self.session, asking(lambda: client), WORDS)
        except Exception:  # whoever presses Tab wants no message, and the prompt must stay whole
            return len(before), []
        finally:
            client.close()

    def _client(self, seconds: float) -> Client:
        values = self._invocation.values
        return Client(socket_paths(values.socket, values.home, self._invocation.environ), seconds)


def _situation(status: dict[str, Any]) -> list[str]:
    """Where the daemon is and what keeps it from working."""
    lines = []
    if peer := status.get("peer"):
        lines.append(f"Peer at {peer.get('listen')}, pid {status.get('pid')}.")
    elif tracker := status.get("tracker"):
        lines.append(
            f"This daemon is only a tracker, at {tracker.get('listen')}: a peer shares and downloads."
        )
    for tracker in status.get("trackers") or ():
        error = tracker.get("error")
        if tracker.get("state") == "connected":
            lines.append(f"Tracker {tracker.get('address')}: connected.")
        elif error:
            lines.append(f"Tracker {tracker.get('address')}: {error.get('message')}.")
        else:
            lines.append(f"Tracker {tracker.get('address')}: {tracker.get('state')}.")
    return lines


def overview(columns: int) -> str:
    """The commands, as in `p2pctl help`, and what only the shell has; no line longer than a terminal is wide, if words allow it."""
    from textwrap import TextWrapper

    lines = []
    for group, commands in cli.COMMANDS.items():
        for name, text in commands.items():
            if name != "shell":
                lines.append(f"{group:<9} {name:<10} {text}")
                group = ""
    group = "shell"
    for word, text in WORDS.items():
        lines.append(f"{group:<9} {word:<10} {text}")
        group = ""
    more = [
        "#3 is the third file of the last search: download #3. Names with blanks are quoted: download 'two words'.",
        "Tab completes, Ctrl-C stops waiting, Ctrl-D leaves. help COMMAND explains one, with its options.",
    ]
    wrapper = TextWrapper(max(columns, MARGIN + 20) - 1, break_long_words=False, break_on_hyphens=False)
    below = [part for line in more for part in wrapper.wrap(line)]
    wrapper.subsequent_indent = " " * MARGIN
    return "\n".join([*(part for line in lines for part in wrapper.wrap(line)), "", *below, ""])


def piped() -> str:
    """The next line of stdin. Raises EOFError."""
    line = sys.stdin.buffer.readline()
    if not line:
        raise EOFError
    return line.decode("utf-8", "surrogateescape").rstrip("\n")
