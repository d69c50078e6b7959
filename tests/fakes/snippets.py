"""Fenced code in documents: what there is, how it is to be run, and whether what came out is what the document shows.

The rule: pure. A snippet says in a comment before it, which readers of the page do not see, what a program needs to know:

    <!-- snippet: terminal=1 -->      in a terminal of its own, which goes on with its program; home=DIR: that of somebody else
    <!-- snippet: exit=7 -->          the last command ends with this status (default 0)
    <!-- snippet: as=WAY -->          is run in another way (WAYS, and snippet_ways.py)
    <!-- run: COMMAND -->             a command that the reader has no need to see
    <!-- root: COMMAND -->            the same, by root on the machine of as=root; `user: COMMAND` by its user

In `console` the lines after `$ ` are typed, those after `> ` go on with them, and the others are what is printed: `...` stands for
any lines. In a terminal, what follows a question at the end of a line is typed too, and `^C` is that key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

RUN = ("console", "sh", "python")
SHOWN = ("toml", "json", "text", "ini", "xml", "dockerfile", "yaml")
INTERRUPT = "^C"
WAYS = {
    "small": "the measurement runs, with sizes so small that it takes seconds: its figures mean nothing",
    "narrowed": "it runs as it stands, in a copy of the sources; variables that people may set as well name a few of the tests and a small "
    "measurement, and what is printed must show that each part of it ran: style, types and contracts are those of everything",
    "cron": "each line's command runs as cron would run it: in sh, with cron's environment, from the home; its times are checked",
    "root": "as it stands, by root on a machine of its own that a real systemd has booted",
    "user": "as it stands on that machine, by a user who logs in for it and has services of their own",
    "recorded": "`podman` is a program that checks what it is asked for against the Containerfile, and does nothing",
}
"""Ways to run what cannot be run as it stands, or not where others are run, and what that is worth."""
BOOTED = ("root", "user")
"""Those of tests/e2e/test_services.py; snippet_runner.py leaves them out."""
_COMMENT = re.compile(r"^ *<!-- (snippet|run|root|user): (.*?) -->$")
_FENCE = re.compile(r"^( *)```(\w*)$")


@dataclass(frozen=True)
class Step:
    """One command and the lines that it prints."""

    command: str
    printed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snippet:
    """A fenced block, or (language "run") a hidden command. `line` is where it begins."""

    line: int
    language: str
    text: str
    terminal: str = ""
    home: str = ""
    exit: int = 0
    way: str = ""  # one of WAYS; "": as it stands

    @property
    def steps(self) -> list[Step]:
        """The commands of a `console` block."""
        steps: list[Step] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                steps.append(Step(line[2:]))
            elif line == INTERRUPT:
                steps.append(Step(INTERRUPT))
            elif not steps:
                raise ValueError(f"line {self.line}: output without a command")
            elif line.startswith("> ") and not steps[-1].printed:
                steps[-1] = Step(f"{steps[-1].command}\n{line[2:]}")
            else:
                steps[-1] = Step(steps[-1].command, (*steps[-1].printed, line))
        return steps


@dataclass
class _Open:
    """A fence that is not closed yet."""

    line: int
    indent: str
    language: str
    how: dict[str, str]
    lines: list[str] = field(default_factory=list)


def snippets(document: str) -> Iterator[Snippet]:
    """All of a document, in order. Raises ValueError with the line for what is not understood."""
    block: _Open | None = None
    how: dict[str, str] = {}
    for number, line in enumerate(document.splitlines(), 1):
        fence = _FENCE.match(line)
        comment = _COMMENT.match(line)
        if block is not None:
            if fence and not fence[2] and fence[1] == block.indent:
                yield _made(block)
                block, how = None, {}
            else:
                block.lines.append(line.removeprefix(block.indent))
        elif fence:
            block = _Open(number, fence[1], fence[2], how)
        elif comment and comment[1] != "snippet":
            yield Snippet(number, "run", comment[2], way=comment[1].removeprefix("run"))
        elif comment:
            how = _directives(comment[2], number)
        elif line.strip() and how:
            raise ValueError(f"line {number}: there is no block after the comment")
    if block is not None:
        raise ValueError(f"line {block.line}: a block without an end")


def _directives(text: str, number: int) -> dict[str, str]:
    how = {}
    for word in text.split():
        name, _, value = word.partition("=")
        if (
            name not in ("terminal", "home", "exit", "as")
            or not value
            or (name == "as" and value not in WAYS)
        ):
            raise ValueError(f"line {number}: {word!r} is not understood")
        how[name] = value
    return how


def _made(block: _Open) -> Snippet:
    how = block.how
    if block.language not in RUN + SHOWN:
        raise ValueError(f"line {block.line}: a block of {block.language!r}: one of {', '.join(RUN + SHOWN)}")
    return Snippet(
        block.line,
        block.language,
        "\n".join(block.lines),
        how.get("terminal", ""),
        how.get("home", ""),
        int(how.get("exit", "0")),
        how.get("as", ""),
    )


# -- what is printed --------------------------------------------------------------------------------------

_CHANGING = {  # what is another thing each time -> what it looks like
    r"\bk-[0-9a-f]{8}\b": r"k-[0-9a-f]{8}",
    r"\b[a-z2-7]{32}\b": r"[a-z2-7]{32}",
    r"\bp2p1-[a-z0-9]+\b": r"p2p1-[a-z0-9]+",
    r"\b[0-9a-f]{8,64}\b": r"[0-9a-f]{8,64}",
    r"\b\d+(?:\.\d+)? [KMG]?i?B/s": r"\d+(?:\.\d+)? [KMG]?i?B/s",
    r"\b\d{4}-\d\d-\d\dT[\d:.]+Z": r"\d{4}-\d\d-\d\dT[\d:.]+Z",
    r"\b\d\d:\d\d:\d\d(?:\.\d+)?\b": r"\d\d:\d\d:\d\d(?:\.\d+)?",
    r"\b(?:\d+h )?(?:\d+m )?\d+(?:\.\d+)? ?s\b": r"(?:\d+h )?(?:\d+m )?\d+(?:\.\d+)? ?s\b",
    r"\bpid \d+": r"pid \d+",
    r"\b\d+(?:\.\d+)? ms\b": r"\d+(?:\.\d+)? ms\b",
    r" {2,}": r" +",
}
_ANY = re.compile("|".join(f"({pattern})" for pattern in _CHANGING))
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[=>]|\x1b\][^\x07]*\x07|\x07")


def pattern(line: str) -> re.Pattern[str]:
    """What a printed line must look like: as shown, but for ids, rates, times and the width of gaps."""
    looks = list(_CHANGING.values())
    parts = []
    at = 0
    for match in _ANY.finditer(line):
        parts += [re.escape(line[at : match.start()]), looks[(match.lastindex or 1) - 1]]
        at = match.end()
    return re.compile("".join([*parts, re.escape(line[at:].rstrip()), r"\s*"]))


def plain(text: str) -> str:
    """What is left to read of what was written to a terminal."""
    lines = _ESCAPES.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rsplit("\r", 1)[-1] for line in lines)


def differs(shown: tuple[str, ...], printed: list[str]) -> str:
    """How the lines that were printed are not those that are shown; "" if they are. Blank lines do not count."""
    wanted = [line for line in shown if line.strip()]
    there = [line for line in printed if line.strip()]
    if _fits(wanted, there):
        return ""
    return "shown:\n  " + "\n  ".join(wanted) + "\nprinted:\n  " + "\n  ".join(there)


def _fits(wanted: list[str], there: list[str]) -> bool:
    if not wanted:
        return not there
    if wanted[0].strip() == "...":
        return any(_fits(wanted[1:], there[at:]) for at in range(len(there) + 1))
    return bool(there) and bool(pattern(wanted[0]).fullmatch(there[0])) and _fits(wanted[1:], there[1:])
