"""p2pctl completion SHELL: the script that completes p2pctl's command lines in a shell, and the answers it asks for."""

from __future__ import annotations

import os
import sys

from p2pctl.render import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from p2pctl.completing import Candidate
    from p2pctl.invocation import Invocation
    from p2pctl.render import Output
    from p2pctl.typed import Typed

EXAMPLES = """
p2pctl completion bash > ~/.local/share/bash-completion/completions/p2pctl
eval "$(p2pctl completion bash)"                    # in ~/.bashrc
eval "$(p2pctl completion zsh)"                     # in ~/.zshrc, after compinit
p2pctl completion fish | source                     # in ~/.config/fish/config.fish
"""

SHELLS = {"bash": "p2pctl", "zsh": "_p2pctl", "fish": "p2pctl.fish"}
"""Shell -> its script, under the name by which the shell finds it."""

ANSWER_SECONDS = 0.15
"""For the daemon. With the start of this program the shell has its answer within 200 ms."""


def arguments(parser: argparse.ArgumentParser) -> None:
    from argparse import SUPPRESS

    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")
    parser.add_argument("--answer", action="store_true", help=SUPPRESS)  # for the scripts only
    parser.add_argument("words", nargs="*", metavar="WORD", help=SUPPRESS)


def run(invocation: Invocation) -> int:
    values, output = invocation.values, invocation.output
    if values.answer:
        return _answer(invocation, values.shell, values.words)
    if values.words:
        from protocol.errors import Fault

        raise Fault("usage", f"unrecognized arguments: {' '.join(values.words)}", "p2pctl help completion")
    output.show(VIEW, [{"shell": values.shell, "script": script(values.shell)}])
    return output.finish(VIEW)


def script(shell: str) -> str:
    """The text of the completion script for one of SHELLS."""
    directory = os.path.join(os.path.dirname(os.path.dirname(__file__)), "completions")
    with open(os.path.join(directory, SHELLS[shell]), encoding="utf-8") as stream:
        return stream.read()


def _answer(invocation: Invocation, shell: str, words: Sequence[str]) -> int:
    """One line "", "files" or "directories" for what the shell itself is to complete, then a line for each candidate.

    bash gives its whole line up to the cursor, the others their words after the name of the program.
    """
    from p2pctl import completing, typed
    from p2pctl.client import Client, socket_paths
    from p2pctl.known import asking
    from p2pctl.units import parse_seconds

    line = typed.split(words[0] if words else "") if shell == "bash" else None
    typed_words = list(words) if line is None else line.words[1:]
    socket, home = (completing.option_value(typed_words[:-1], name) for name in ("--socket", "--home"))
    seconds = parse_seconds(invocation.values.timeout) if invocation.values.timeout else ANSWER_SECONDS
    client = Client(socket_paths(socket, home, invocation.environ), seconds)
    try:
        completion = completing.complete(typed_words, asking(lambda: client))
    finally:
        client.close()
    lines = [completion.paths]
    for candidate in completion.candidates:
        if (text := _line(candidate, line)) is not None:
            lines.append(text)
    sys.stdout.buffer.write(("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))
    return 0


def _line(candidate: Candidate, line: Typed | None) -> str | None:
    from p2pctl import typed
    from protocol.display import safe

    if safe(candidate.value) != candidate.value:
        return None  # nothing that could do harm on a terminal is offered
    if line is not None:
        return typed.insertion(candidate.value, line)
    return f"{candidate.value}\t{safe(candidate.about)}"


def _human(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        sys.stdout.write(str(item["script"]))


VIEW = View(("shell", "script"), "script", _human)
