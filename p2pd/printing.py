"""What p2pd prints for programs and for people: the documents of --json, and what is wrong.

The rule: documents and error lines as p2pctl's (docs/control-api.md, docs/schemas), so that one reader does for both; stdout is the answer
and nothing else. Knows no command.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from protocol.display import safe
from protocol.errors import Fault


def document(command: str, item: Mapping[str, Any], warnings: Sequence[str] = ()) -> None:
    """The one item that `p2pd COMMAND --json` answers with."""
    whole = {
        "schema": f"p2pd.{command}/1",
        "items": [item],
        "partial": False,
        "next": None,
        "warnings": list(warnings),
    }
    say(json.dumps(whole))


def say(line: str) -> None:
    """A line of an answer. Raises BrokenPipeError when nobody reads it, Fault storage when it cannot be written."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        _discard()
        raise
    except OSError as error:
        _discard()
        raise Fault("storage", f"cannot write to standard output: {error.strerror}") from error


def warn(text: str) -> None:
    """What may be wrong, for people."""
    print(f"p2pd: warning: {safe(text)}", file=sys.stderr)


def announce(line: str) -> None:
    """A line for whoever started a daemon, which serves all the same when nobody reads it."""
    try:
        print(line, flush=True)
    except OSError:
        _discard()


def settle() -> None:
    """The last that is done: what cannot be written any more changes no exit status."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            _discard(number)


def _discard(number: int = 1) -> None:
    """A stream leads nowhere from now on, so that the interpreter's last flush cannot fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def standard_streams() -> None:
    """Open what the caller closed (`>&-`), before a socket or a database gets its descriptor and what is printed goes there."""
    for number, mode, name in ((0, "r", "stdin"), (1, "w", "stdout"), (2, "w", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def report(fault: Fault, *, as_json: bool) -> None:
    """Says on stderr what is wrong; for people, of several things each."""
    if as_json:
        line = {"schema": "p2p.error/1", "code": fault.code, "exit": fault.exit_status}
        line |= {"message": fault.message, "hint": fault.hint}
        print(json.dumps(line | ({"details": fault.details} if fault.details else {})), file=sys.stderr)
        return
    print(f"p2pd: {safe(fault.message)}", file=sys.stderr)
    problems = fault.details.get("problems")
    if isinstance(problems, list) and len(problems) > 1:
        for problem in problems:
            print(f"  {safe(problem['message'])}", file=sys.stderr)
            if problem["hint"]:
                print(f"    hint: {safe(problem['hint'])}", file=sys.stderr)
    elif fault.hint:
        print(f"  hint: {safe(fault.hint)}", file=sys.stderr)
