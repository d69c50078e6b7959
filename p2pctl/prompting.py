"""The prompt of the shell on a terminal: editing, history and completion by prompt_toolkit, or a plain line where a terminal cannot.

The rule: only this module imports prompt_toolkit, and only the shell on a terminal imports this module. Ctrl-C comes out as
KeyboardInterrupt, Ctrl-D as EOFError. Nothing that came from elsewhere is drawn before `safe` (p2pctl/offering.py sees to it).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import History as ToolkitHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from p2pctl.history import History
from p2pctl.offering import Offer

Complete = Callable[[str], tuple[int, list[Offer]]]

PROMPT = "P2P> "


def make(
    history: History,
    complete: Complete,
    color: bool,
    *,
    input: Input | None = None,
    output: Output | None = None,
) -> Callable[[], str]:
    """A function that asks for a line. `complete` takes the text before the cursor (p2pctl/offering.py)."""
    if output is None and os.environ.get("TERM", "dumb") == "dumb":
        return plain
    depth = None if color else ColorDepth.DEPTH_1_BIT
    if output is None:
        # Without asking where the cursor is: a terminal that does not answer, or answers late, would leave rubbish in the line.
        terminal = Vt100_Output.from_pty(sys.stdout, term=os.environ.get("TERM"))
        terminal.enable_cpr = False
        output = terminal
    session: PromptSession[str] = PromptSession(
        PROMPT,
        history=_Kept(history),
        completer=_Completer(complete),
        complete_while_typing=False,
        complete_style=CompleteStyle.COLUMN,
        enable_suspend=True,
        color_depth=depth,
        input=input,
        output=output,
    )
    return session.prompt


def plain() -> str:
    """A line from a terminal that can only print. Raises EOFError."""
    sys.stdout.write(PROMPT)
    sys.stdout.flush()
    try:
        line = sys.stdin.buffer.readline()
    except KeyboardInterrupt:
        print(flush=True)
        raise
    if not line:
        print(flush=True)
        raise EOFError
    return line.decode("utf-8", "surrogateescape").rstrip("\n")


class _Kept(ToolkitHistory):
    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def load_history_strings(self) -> Iterable[str]:
        return reversed(self._history.load())

    def store_string(self, string: str) -> None:
        for line in string.split("\n"):
            self._history.append(line)


class _Completer(Completer):
    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        start, offers = self._complete(before)
        for offer in offers:
            # The next word may be typed at once, except after a directory.
            yield Completion(
                offer.text + ("" if offer.text.endswith("/") else " "),
                start - len(before),
                display=offer.shown,
                display_meta=offer.about,
            )
