"""Command lines from a file or a pipe, each answered before the next is read, over one connection.

The rule: a line is worth what it would be as a process of its own, with the same answer and status; for programs its whole answer is one
record that names the line. Nothing is read ahead, so whoever writes the lines may wait for the answers. Knows no command.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field

from p2pctl import args, cli
from p2pctl.exitcodes import INTERRUPTED, OK, TERMINATED
from p2pctl.render import error_map, note, report
from p2pctl.session import Session, words_of
from protocol.errors import EXIT_STATUS, Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO, TextIO

    Item = dict[str, Any]

MAX_LINE = 1 << 20  # octets
NESTED = ("batch", "shell")
SIGNALLED = (INTERRUPTED, TERMINATED)


@dataclass(slots=True)
class Tally:
    """How the lines went."""

    lines: int = 0
    failures: list[int] = field(default_factory=list)

    @property
    def status(self) -> int:
        """That of a command with so many arguments: 0, the one reason of all, or 12."""
        if not self.failures:
            return OK
        if self.failures[-1] in SIGNALLED:
            return self.failures[-1]
        if len(self.failures) == self.lines and len(set(self.failures)) == 1:
            return self.failures[0]
        return EXIT_STATUS["partial"]


def run(
    stream: BinaryIO,
    values: argparse.Namespace,
    keep_going: bool,
    record: Callable[[Item], object] | None,
) -> Tally:
    """All lines of `stream`, until the first that fails unless `keep_going`. With `record` each answer is given to it instead of being
    printed. Raises BrokenPipeError."""
    tally = Tally()
    session = Session(_for_programs(values) if record is not None else values)
    try:
        for number, line in _lines(stream):
            status = _line(number, line, session, record)
            if status is None:
                continue
            tally.lines += 1
            if status == OK:
                continue
            tally.failures.append(status)
            if record is None and status not in SIGNALLED:
                more = "" if keep_going else "; what follows is left out (--keep-going goes on)"
                note(f"p2pctl: line {number} failed with status {status}{more}")
            if status in SIGNALLED or not keep_going:
                break
    except KeyboardInterrupt:  # while the next line was waited for
        tally.lines += 1
        tally.failures.append(INTERRUPTED)
    finally:
        session.close()
    return tally


def _lines(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """Each line with its number, as it comes; the octets after MAX_LINE of one are left out, which makes it too long."""
    number = 0
    while octets := stream.readline(MAX_LINE + 1):
        number += 1
        whole = octets
        while not octets.endswith(b"\n") and len(octets) > MAX_LINE:
            octets = stream.readline(MAX_LINE + 1)
        yield number, whole.decode("utf-8", "surrogateescape")


def _line(number: int, line: str, session: Session, record: Callable[[Item], object] | None) -> int | None:
    """The status of one line; None for one without a command."""
    try:
        words = _words(line)
    except Fault as fault:
        if record is None:
            report(fault, "human")
        else:
            record(_record(number, None, fault.exit_status, "", [_document(fault)]))
        return fault.exit_status
    if not words:
        return None
    if record is None:
        return cli.run_line(words, session)
    status, out, errors = _captured(words, session)
    command, _ = args.split(words) if _splits(words) else (None, words)
    record(_record(number, cli.ALIASES.get(command or "", command), status, out, errors))
    return status


def _words(line: str) -> list[str]:
    if len(line) > MAX_LINE:
        raise Fault("usage", f"a line has at most {MAX_LINE} octets")
    words = words_of(line)
    if words and _splits(words) and args.split(words)[0] in NESTED:
        raise Fault("usage", f"{args.split(words)[0]} cannot stand in a batch", "write its lines here")
    return words


def _splits(words: list[str]) -> bool:
    try:
        args.split(words)
    except Fault:
        return False
    return True


# -- for programs -----------------------------------------------------------------------------------------


def _for_programs(values: argparse.Namespace) -> argparse.Namespace:
    """The options of the batch as each line inherits them: one document each."""
    from copy import copy

    given = copy(values)
    given.json, given.jsonl, given.tsv, given.quiet = True, False, False, False
    if given.progress != "json":
        given.progress = "off"
    return given


def _captured(words: list[str], session: Session) -> tuple[int, str, list[Item]]:
    """Runs one line; its status, what it printed, and the errors it told. Progress goes on to the real stderr."""
    before = sys.stdout, sys.stderr
    out, err = io.BytesIO(), _Stderr(sys.stderr)
    sys.stdout = io.TextIOWrapper(out, encoding="utf-8", errors="backslashreplace", write_through=True)
    sys.stderr = io.TextIOWrapper(err, encoding="utf-8", errors="backslashreplace", write_through=True)
    try:
        status = cli.run_line(words, session)
        return status, out.getvalue().decode("utf-8", "replace"), err.errors
    finally:
        sys.stdout, sys.stderr = before


class _Stderr(io.BytesIO):
    """Keeps the error lines that are written, and hands every other line on."""

    def __init__(self, real: TextIO) -> None:
        super().__init__()
        self.errors: list[Item] = []
        self._real = real
        self._rest = b""

    def write(self, data: Any) -> int:
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in lines:
            self._take(line)
        return len(data)

    def _take(self, line: bytes) -> None:
        from json import loads

        try:
            document = loads(line)
        except ValueError:
            document = None
        if isinstance(document, dict) and document.get("schema") == "p2p.error/1":
            self.errors.append(document)
            return
        self._real.flush()
        self._real.buffer.write(line + b"\n")
        self._real.buffer.flush()


def _record(number: int, command: str | None, status: int, out: str, errors: list[Item]) -> Item:
    """What one line came to. Of a document `failed` has the errors already."""
    from json import loads

    document = None
    if out.startswith('{"schema":') and out.count("\n") == 1:
        document, out = loads(out), ""
    failed = [] if document is not None and document.get("failed") else errors
    return {
        "line": number,
        "command": command,
        "exit": status,
        "document": document,
        "output": out or None,
        "error": failed[-1] if failed else None,
    }


def _document(fault: Fault) -> Item:
    return {"schema": "p2p.error/1", **error_map(fault)}
