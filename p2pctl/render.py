"""What goes to stdout and stderr, in each of the five shapes: human, json, jsonl, tsv, quiet.

The rule: stdout is the answer and nothing else; what came from elsewhere is never shown raw to a terminal;
numbers for machines are never formatted. Knows no command: a View says what one shows. Imports json only
for the shapes that need it.
"""

from __future__ import annotations

import os
import sys

from p2pctl.exitcodes import combine
from p2pctl.units import format_size
from protocol.display import hidden, safe
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from p2pctl.tables import Layout

    Item = dict[str, Any]

_encode: Callable[[object], str] | None = None
LONG_CURSOR = 40  # more characters than a line has room for
SHAPES = ("json", "jsonl", "tsv", "quiet")
_TSV = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class View:
    """How one command shows its items.

    `columns` are the fields of --tsv and `more` those that --columns can name besides, `quiet` the field of -q (one
    that is null prints nothing), `human` prints a page of items for people, and `empty` is said on stderr when
    there was none.
    """

    __slots__ = ("columns", "empty", "human", "more", "quiet")

    def __init__(
        self,
        columns: Sequence[str],
        quiet: str,
        human: Callable[[Output, list[Item]], None],
        empty: str = "",
        more: Sequence[str] = (),
    ) -> None:
        self.columns = columns
        self.more = more
        self.quiet = quiet
        self.human = human
        self.empty = empty

    def check(self, names: Iterable[str]) -> None:
        """Raises Fault usage for the first of `names` that is no field."""
        known = [*self.columns, *self.more]
        for name in names:
            if name not in known:
                from protocol.nearest import hint

                near = hint(name, known, f"columns here: {', '.join(known)}")
                raise Fault("usage", f"there is no column {name!r}", near)


class Output:
    """The output of one run of a command. `command` names the schema; `shape` is "human" or one of SHAPES."""

    def __init__(
        self, command: str, shape: str, *, verbose: bool = False, color: bool = True, now: float = 0.0
    ) -> None:
        self.command = command
        self.shape = shape
        self.verbose = verbose
        self.now = now
        self.terminal = sys.stdout.isatty()
        self.color = color
        self.dumb = os.environ.get("TERM", "dumb") == "dumb"
        self._items: list[Item] = []
        self.count = 0
        """Items shown so far."""
        self._next: str | None = None
        self._partial = False
        self._warnings: list[str] = []
        self._faults: list[Fault] = []
        self._failed: list[Item] = []
        self._chosen: Sequence[str] | None = None
        self._header = False
        self._table: list[int] = []
        self._layout: Layout | None = None
        self.listener: Callable[[str, list[Item]], None] | None = None
        """Told the command and each page of its items."""
        self.numbered = False
        """Whether lists of finds show the numbers that `#N` means."""

    @property
    def human(self) -> bool:
        return self.shape == "human"

    def choose(self, columns: str | None, header: bool) -> None:
        """The values of --columns and --header."""
        self._chosen = columns.split(",") if columns is not None else None
        self._header = header

    # -- the answer -----------------------------------------------------------------------------------

    def show(self, view: View, items: list[Item]) -> None:
        """Show one page of items, or keep it for the document."""
        if self.listener is not None:
            self.listener(self.command, items)
        self.count += len(items)
        if self.shape == "json":
            self._items += items
        elif self.shape == "jsonl":
            self._write("".join(_json(item) + "\n" for item in items), "backslashreplace")
        elif self.shape == "tsv":
            self._write(self._tsv(view, items), "surrogateescape")
        elif self.shape == "quiet":
            words = (item.get(view.quiet) for item in items)
            lines = (safe(str(word)) if self.terminal else str(word) for word in words if word is not None)
            self._write("".join(line + "\n" for line in lines), "surrogateescape")
        elif items:
            view.human(self, items)

    def page(self, view: View, page: Mapping[str, Any]) -> None:
        """Show a page of a list as the daemon sent it."""
        self.show(view, page["items"])
        self._next = page.get("next")
        self._partial = self._partial or bool(page.get("partial"))
        for warning in page.get("warnings") or ():
            self.warn(str(warning))

    def fail(self, subject: str, fault: Fault, total: int) -> None:
        """One of `total` arguments failed: say so on stderr now, and in the document if there are several."""
        self._faults.append(fault)
        if total > 1:
            self._failed.append({"subject": subject, **error_map(fault)})
        report(fault, self.shape, subject if total > 1 else "")

    def finish(self, view: View, total: int = 1) -> int:
        """End the answer; returns the exit status of a command with `total` arguments."""
        if self._next is not None and self.shape != "json":
            self.warn(f"more follow: {self._onward(self._next)}")
        if self.shape == "json" and (total > 1 or not self._faults):
            document: Item = {
                "schema": f"p2p.{self.command}/1",
                "items": self._items,
                "partial": self._partial or bool(self._failed),
                "next": self._next,
                "warnings": self._warnings,
            }
            if self._failed:
                document["failed"] = self._failed
            self._write(_json(document) + "\n", "backslashreplace")
        elif self.human and not self.count and not self._faults and view.empty:
            note(view.empty)
        elif self.shape == "tsv" and self._header and not self._faults:
            self._write(self._tsv(view, []), "surrogateescape")  # a table without rows is one all the same
        return combine(self._faults, total)

    def _onward(self, cursor: str) -> str:
        """How to get at what follows. Nobody copies a long cursor (that of several trackers holds a mark of each) by hand."""
        if self.human and len(cursor) > LONG_CURSOR:
            return "a higher --limit shows them; the cursor of the next page is `next` under --json"
        return f"--cursor {cursor}"

    def warn(self, text: str) -> None:
        """A warning: part of the document, or a line on stderr. Each is given once."""
        if text in self._warnings:
            return
        self._warnings.append(text)
        if self.shape == "jsonl":
            note(_json({"schema": "p2p.warning/1", "message": text}))
        elif self.shape != "json":
            note(f"p2pctl: {safe(text)}")

    # -- for people -----------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """One line for people on stdout; `text` is made safe."""
        self._write(safe(text) + "\n", "backslashreplace")

    def verdict(self, word: str, tone: int, text: str) -> None:
        """A line that begins with a short word, in a colour (SGR number) on a terminal."""
        shown = safe(f"{word:<4}")
        if self.terminal and self.color:
            shown = f"\x1b[{tone}m{shown}\x1b[0m"
        self._write(f"{shown}  {safe(text)}\n", "backslashreplace")

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Aligned `name  value` lines."""
        rows = list(pairs)
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            self.line(f"{name:<{width}}  {value}")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Aligned columns with an upper-case header; numbers (a head with `>` in front) to the right. The header comes once; widths only
        grow over pages.

        On a terminal it fits its width: columns whose head has `?` in front may be left out, and the last one is cut. Never in a pipe.
        """
        cells = [[safe(cell) for cell in row] for row in rows]
        if self.terminal and not self.dumb:
            self._draw_table(head, cells)
            return
        names = [name.lstrip("?>") for name in head]
        first = not self._table
        previous = self._table or [len(name) for name in names]
        self._table = [max([w, *(columns(row[i]) for row in cells)]) for i, w in enumerate(previous)]
        lines = []
        for row in [names, *cells] if first else cells:
            padded = [_pad(cell, w, name) for cell, w, name in zip(row, self._table, head, strict=True)]
            lines.append("  ".join([*padded[:-1], row[-1]]))
        self._write("".join(line + "\n" for line in lines), "backslashreplace")

    def _draw_table(self, head: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        from p2pctl.screen import terminal_size
        from p2pctl.tables import Layout, paint, painter

        if self._layout is None:
            self._layout = Layout(head, terminal_size(sys.stdout)[0], self.color)
        console = painter(self.color)
        lines = [paint(console, line) for line in self._layout.lines(cells)]
        self._write("".join(line + "\n" for line in lines), "backslashreplace")

    # -- shapes ---------------------------------------------------------------------------------------

    def _tsv(self, view: View, items: list[Item]) -> str:
        names = self._chosen or view.columns
        lines = []
        if self._header:
            lines.append("\t".join(names))
            self._header = False
        for item in items:
            lines.append("\t".join(_cell(item.get(name), self.terminal) for name in names))
        return "".join(line + "\n" for line in lines)

    def _write(self, text: str, errors: str) -> None:
        """To stdout: UTF-8 for machines, the terminal's own encoding for people."""
        encoding = (sys.stdout.encoding or "utf-8") if self.human else "utf-8"
        sys.stdout.flush()
        rest = memoryview(text.encode(encoding, errors))
        while rest:
            # Under PYTHONUNBUFFERED this is a raw file, which may take a part only.
            rest = rest[sys.stdout.buffer.write(rest) :]
        if self.shape != "json":
            sys.stdout.buffer.flush()


# -- stderr -----------------------------------------------------------------------------------------------


def note(text: str) -> None:
    """A line on stderr; `text` must be safe. A stderr that is gone is no reason to fail."""
    try:
        data = (text + "\n").encode(sys.stderr.encoding or "utf-8", "backslashreplace")
        sys.stderr.flush()
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()
    except (OSError, ValueError):
        pass


def error_map(fault: Fault) -> dict[str, Any]:
    """A Fault as the fields of an error document."""
    fields: dict[str, Any] = {
        "code": fault.code,
        "exit": fault.exit_status,
        "message": fault.message,
        "hint": fault.hint,
    }
    if fault.details:
        fields["details"] = fault.details
    return fields


def report(fault: Fault, shape: str, subject: str = "") -> None:
    """Say on stderr what failed: one JSON line for machines, message and hint for people."""
    if shape in ("json", "jsonl"):
        document = {"schema": "p2p.error/1", **error_map(fault)}
        if subject:
            document["subject"] = subject
        note(_json(document))
        return
    lead = f"{safe(subject)}: " if subject else ""
    note(f"p2pctl: {lead}{safe(fault.message)}")
    matches = fault.details.get("matches")
    if isinstance(matches, list):
        for match in matches:
            if isinstance(match, dict):
                size = format_size(match.get("size_bytes") or 0)
                note(f"  {safe(str(match.get('id'))[:16])}  {size:>10}  {safe(str(match.get('name')))}")
    problems = fault.details.get("problems")
    if isinstance(problems, list) and len(problems) > 1:  # a single one is the message itself
        for problem in problems:
            if isinstance(problem, dict):
                note(f"  {safe(str(problem.get('message')))}")
                if problem.get("hint"):
                    note(f"    hint: {safe(str(problem['hint']))}")
    if fault.hint:
        note(f"  hint: {safe(fault.hint)}")


def stopped(message: str, hint: str, exit: int, shape: str) -> None:
    """Say on stderr that a signal ended the wait."""
    if shape in ("json", "jsonl"):
        fields = {"code": "interrupted", "exit": exit, "message": message, "hint": hint}
        note(_json({"schema": "p2p.error/1", **fields}))
    else:
        note(f"p2pctl: {safe(message)}")
        note(f"  hint: {safe(hint)}")


# -- cells ------------------------------------------------------------------------------------------------


def _json(value: object) -> str:
    global _encode
    if _encode is None:
        _encode = _encoder()
    text = _encode(value)
    if text.isascii() and text.isprintable():
        return text
    # What a terminal would obey, or not show, is written by its number: to a program it is the same.
    return "".join(_numbered(c) if hidden(c) else c for c in text)


def _encoder() -> Callable[[object], str]:
    """json's encoder in C, without json: that loads `re` for its decoder, 7 ms of 33."""
    try:
        from _json import encode_basestring, make_encoder

        pieces = make_encoder(None, _no_json, encode_basestring, None, ":", ",", False, False, True)
    except (ImportError, TypeError):  # another Python than those that we know
        from json import JSONEncoder

        return JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    return lambda value: "".join(pieces(value, 0))


def _no_json(value: object) -> object:
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _numbered(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD7C0 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _cell(value: object, terminal: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        value = _json(value)
    text = str(value).translate(_TSV)
    return safe(text) if terminal else text


def columns(text: str) -> int:
    """Columns a terminal needs for `text`: wide East Asian characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int, head: str) -> str:
    fill = " " * (width - columns(text))
    return fill + text if ">" in head[:2] else text + fill


def discard_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
