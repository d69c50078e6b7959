"""What the Tab key offers in the shell: what completing.py says of the line, and what only the shell knows, written as one word of sh.

The rule: what is inserted is quoted so that it is one word again, and what is shown is safe; a name that is not seen as it is comes as its
id. Knows no terminal.
"""

from __future__ import annotations

import os
import shlex
from typing import NamedTuple

from p2pctl import completing
from p2pctl.completing import Candidate
from p2pctl.units import format_size
from protocol.display import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from p2pctl.completing import Ask
    from p2pctl.session import Session

    Item = dict[str, Any]


class Offer(NamedTuple):
    """What replaces the word, what the menu shows for it, and what it says of it."""

    text: str
    shown: str
    about: str = ""


class Partial(NamedTuple):
    """A line up to the cursor: its whole words, where the raw last one begins, and what that says."""

    words: list[str]
    start: int
    value: str


def partial(text: str) -> Partial:
    """Takes the words apart as sh does; the last may be without its closing quote. It is empty after a blank."""
    words: list[str] = []
    value: list[str] = []
    start, begun, quote, index = 0, False, "", 0
    while index < len(text):
        character = text[index]
        if not quote and character in " \t\n":
            if begun:
                words.append("".join(value))
                value, begun = [], False
        else:
            if not begun:
                start, begun = index, True
            if character == quote:
                quote = ""
            elif not quote and character in "'\"":
                quote = character
            elif character == "\\" and quote != "'" and (quote == "" or text[index + 1 : index + 2] in '"\\'):
                index += 1
                value.append(text[index : index + 1])
            else:
                value.append(character)
        index += 1
    return Partial(words, start if begun else len(text), "".join(value))


def complete(before: str, session: Session, ask: Ask, extra: dict[str, str]) -> tuple[int, list[Offer]]:
    """Where the word begins that is replaced, and the offers, best first. `ask` is that of completing.complete; `extra` are words of
    the shell itself and their help.
    """
    words, start, value = partial(before)
    if words[:1] == ["p2pctl"]:
        del words[0]

    def with_found(kind: str, text: str) -> Iterable[Candidate]:
        if kind != "found":
            return ask(kind, text)
        if text.startswith("#"):
            return numbers(session.found or [], text)
        first = list(names(session.found or [], text))
        known = {candidate.value for candidate in first}
        return [*first, *(candidate for candidate in ask(kind, text) if candidate.value not in known)]

    got = completing.complete([*words, value], with_found)
    candidates = [candidate for candidate in got.candidates if candidate.value not in words]
    if not words:
        own = (Candidate(word, text) for word, text in extra.items() if word.startswith(value))
        candidates = [*(candidate for candidate in candidates if candidate.value != "shell"), *own]
    offers = [
        Offer(quoted(candidate.value), candidate.value, safe(candidate.about).replace("%%", "%"))
        for candidate in candidates
        if safe(candidate.value) == candidate.value
    ]
    if got.paths:
        offers += paths(value, directories=got.paths == completing.DIRECTORIES)
    return start, offers


def quoted(word: str) -> str:
    """One word of sh; `#3` stands for itself, for nothing in the shell is a comment but a whole line."""
    return word if word.startswith("#") and word[1:].isdigit() else shlex.quote(word)


def numbers(found: Iterable[Item], text: str) -> Iterator[Candidate]:
    """`#1`, `#2` and the names they mean."""
    for number, item in enumerate(found, 1):
        if f"#{number}".startswith(text):
            yield Candidate(f"#{number}", str(item.get("name")))


def names(found: Iterable[Item], text: str) -> Iterator[Candidate]:
    """Items by name; by id where two have the same name, or one that means something else or is not seen as it is."""
    named: dict[str, dict[str, Item]] = {}
    for item in found:
        named.setdefault(str(item["name"]), {})[str(item["id"])] = item
    for name, same in named.items():
        if not name.casefold().startswith(text.casefold()):
            continue
        for id, item in same.items():
            # A name that begins with - would be an option, and one like `#3` or `name:x` would be taken for that.
            plain = len(same) == 1 and safe(name) == name and name[:1] not in "-#" and ":" not in name
            size = format_size(item.get("size_bytes") or 0)
            yield Candidate(name, size) if plain else Candidate(id, f"{name}, {size}")


def paths(value: str, *, directories: bool = False) -> Iterator[Offer]:
    """Files and directories that begin with `value`; `~` is understood. Names that cannot be shown are left out."""
    head, tail = os.path.split(value)
    try:
        with os.scandir(os.path.expanduser(head) or ".") as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries)
    except (OSError, ValueError):
        return
    for name, directory in found:
        if directories and not directory:
            continue
        if name.startswith(tail) and safe(name) == name and (tail or not name.startswith(".")):
            path = os.path.join(head, name) + ("/" if directory else "")
            if path.startswith("-"):
                path = f"./{path}"
            yield Offer(quote_path(path), name + ("/" if directory else ""))


def quote_path(path: str) -> str:
    """Quoted, but a leading `~/` stays open: the shell replaces it."""
    if path.startswith("~/") and len(path) > 2:
        return "~/" + shlex.quote(path[2:])
    return path if path == "~/" else shlex.quote(path)
