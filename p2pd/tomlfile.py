"""A TOML file of settings: what it holds and in which line, and how such a file is written.

The rule: the standard library reads and judges the document; `lines` only looks for where keys stand, in a document that was found
good. Knows no setting.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.errors import Fault

MAX_FILE = 1 << 20  # octets: far more than all settings take, and no device or wrong file fills the memory
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")
_BARE = re.compile(r"[A-Za-z0-9_-]+")

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds, and the line of each key: `("peer",)` the section, `("peer", "listen")` the key."""

    path: Path
    values: dict[str, Any]
    lines: dict[Place, int]

    def where(self, *place: str) -> str:
        """`PATH:LINE` of a key; of its section when it has no line of its own."""
        for end in range(len(place), 0, -1):
            if (line := self.lines.get(place[:end])) is not None:
                return f"{self.path}:{line}"
        return str(self.path)


def read(path: Path) -> Document:
    """The document at `path`. Raises Fault usage with the line, and FileNotFoundError as it is."""
    try:
        with path.open("rb") as stream:
            octets = stream.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Fault(
            "usage", f"cannot read {path}: {error.strerror}", "name another file with --config"
        ) from error
    if len(octets) > MAX_FILE:
        raise Fault("usage", f"{path} has over {MAX_FILE} octets: it is no file of settings")
    try:
        text = octets.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise Fault("usage", f"{path}:{line}: octets that are not UTF-8", "save the file as UTF-8") from error
    try:
        return Document(path, tomllib.loads(text), lines(text))
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        match = _AT.search(message)
        line = int(match[1]) if match and match[1] else text.count("\n") + (not text.endswith("\n"))
        words = _AT.sub("", message)
        column = f", column {match[2]}" if match and match[2] else ""
        raise Fault(
            "usage",
            f"{path}:{line}: this is not TOML: {words}{column}",
            'a setting is written as `key = "value"` under its `[section]`',
        ) from error


# -- where keys stand -------------------------------------------------------------------------------------


def lines(text: str) -> dict[Place, int]:
    """The line of each section and key of a valid document, the first of each; inside an inline table its own line is that of
    the table."""
    found: dict[Place, int] = {}
    section: Place = ()
    at = 0
    while (at := _blank(text, at)) < len(text):
        line = text.count("\n", 0, at) + 1
        if text[at] == "[":
            section, at = _key(text, at + 1 + text.startswith("[[", at))
            at = _end(text, at)
            place = section
        else:
            name, at = _key(text, at)
            place = (*section, *name)
            at = _value(text, at)
        for length in range(1, len(place) + 1):
            found.setdefault(place[:length], line)
    return found


def _blank(text: str, at: int) -> int:
    """Past blanks, empty lines and comments."""
    while at < len(text):
        if text[at] == "#":
            at = _end(text, at)
        elif text[at] in " \t\r\n":
            at += 1
        else:
            break
    return at


def _end(text: str, at: int) -> int:
    """The end of the line."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _key(text: str, at: int) -> tuple[Place, int]:
    """A dotted key and where what follows it begins."""
    parts: list[str] = []
    while at < len(text):
        if text[at] in "\"'":
            end = _string(text, at)
            parts.append(str(tomllib.loads(f"k = {text[at:end]}")["k"]))
            at = end
        elif match := _BARE.match(text, at):
            parts.append(match[0])
            at = match.end()
        elif text[at] in " \t.":
            at += 1
        else:
            break
    return tuple(parts), at


def _string(text: str, at: int) -> int:
    """The end of a string that begins at `at`."""
    quote = text[at]
    mark = quote * 3 if text.startswith(quote * 3, at) else quote
    at += len(mark)
    while at < len(text) and not text.startswith(mark, at):
        at += 2 if quote == '"' and text[at] == "\\" else 1
    at += len(mark)
    while len(mark) == 3 and at < len(text) and text[at] == quote:  # up to two more belong to the text
        at += 1
    return at


def _value(text: str, at: int) -> int:
    """The end of a value; it may go over lines inside brackets and long strings."""
    depth = 0
    while at < len(text):
        character = text[at]
        if character in "\"'":
            at = _string(text, at)
            continue
        if character == "#":
            at = _end(text, at)
            continue
        if character == "\n" and depth == 0:
            break
        depth += (character in "[{") - (character in "]}")
        at += 1
    return at


# -- writing ----------------------------------------------------------------------------------------------


def write(values: Mapping[str, Any], comment: str) -> str:
    """A document of `section.key` -> text, number, true/false or list of texts. Raises Fault usage for text that is not UTF-8."""
    out = [f"# {line}" for line in comment.splitlines()]
    sections: dict[str, list[str]] = {}
    for name, value in sorted(values.items()):
        section, _, key = name.partition(".")
        sections.setdefault(section, []).append(f"{key} = {_literal(name, value)}")
    for section, rows in sections.items():
        out += ["", f"[{section}]", *rows]
    return "\n".join(out) + "\n"


def _literal(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise Fault("usage", f"{name} must be UTF-8") from error
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    assert isinstance(value, list)
    return f"[{', '.join(_literal(name, part) for part in value)}]"
