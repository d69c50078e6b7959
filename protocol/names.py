"""Names from the network: what is accepted as one.

The rule: reject, never repair. A repaired name can collide with another, and two peers that repair
differently see different files. What is accepted is one form of one text (UTF-8, NFC), shows as what it is,
and names one thing below a directory on every system (docs/protocol.md, "Untrusted names"). Knows nothing of
files: writing safely is p2pd/storage/root.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import is_normalized, normalize

from protocol import display
from protocol.errors import RemoteProtocolError
from protocol.limits import MAX_COMPONENTS, MAX_NAME, MAX_PATH

PART_SUFFIX = ".p2pd-part"
"""Ends the name of an unfinished download, so no finished file may be called so."""

_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"]
    + [port + digit for port in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"]
)
"""Names that Windows opens as a device, with or without an extension (Microsoft, "Naming Files, Paths, and
Namespaces")."""


_ORDINARY = re.compile(r"[ -.0-9;-\[\]-~]+")
"""ASCII without separators and controls: what needs no look at each character. A folder has 100,000 names."""


class BadName(RemoteProtocolError):
    """A name that is not accepted. The message completes the sentence "the name ..."."""


def check_name(text: str) -> str:
    """`text` itself, when it is acceptable as one path component. Raises BadName, with the reason, for
    anything else."""
    if not text:
        raise BadName("is empty")
    if len(text) > MAX_NAME:  # before anything that costs time in proportion
        raise BadName(f"is longer than {MAX_NAME} octets")
    if text in (".", ".."):
        raise BadName("means a directory")
    if not _ORDINARY.fullmatch(text):
        for character in text:
            if character in "/\\:":
                raise BadName(f"holds {character!r}, which separates paths on some systems")
            if kind := display.hidden(character):
                raise BadName(f"holds {display.safe(character)} ({kind})")
        if len(text.encode("utf-8")) > MAX_NAME:
            raise BadName(f"is longer than {MAX_NAME} octets")
        if not is_normalized("NFC", text):
            raise BadName("is not in Unicode normal form C")
    if text[-1] in ". ":
        raise BadName("ends with a dot or a space, which Windows drops")
    stem = text.split(".", 1)[0].rstrip(" ").upper()
    if stem in _DEVICES:
        raise BadName(f"is that of a device on Windows, {stem}")
    if text.lower().endswith(PART_SUFFIX):
        raise BadName(f"ends with {PART_SUFFIX}, which marks unfinished downloads")
    return text


def check_path(text: str) -> tuple[str, ...]:
    """The components of a relative path with "/" between them. Raises BadName."""
    if len(text) > MAX_PATH or len(text.encode("utf-8", "replace")) > MAX_PATH:
        raise BadName(f"is longer than {MAX_PATH} octets")
    if text.startswith("/"):
        raise BadName("is absolute")
    components = text.split("/")
    if len(components) > MAX_COMPONENTS:
        raise BadName(f"is deeper than {MAX_COMPONENTS} directories")
    return tuple(check_name(component) for component in components)


def own_name(text: str) -> str:
    """What others call a file or path of this device: NFC of what it is called here, or of what its user types. Files copied from a
    Mac have decomposed names; these are composed where they are given out, and checked then. Never for what others sent."""
    return text if text.isascii() else normalize("NFC", text)


def fold(text: str) -> str:
    """What two names must not have in common in one directory: on some systems they are then one file."""
    return text.lower() if text.isascii() else normalize("NFC", text.casefold())


def check_tree(paths: Iterable[str]) -> list[tuple[str, ...]]:
    """The components of each path of a collection. Raises BadName, also when two paths fold to the same or
    one is both file and directory. Each directory is looked at once, however many files it holds."""
    files: set[tuple[str, str]] = set()
    directories: dict[str, str] = {}  # folded -> as it is written
    seen: dict[str, tuple[tuple[str, ...], str]] = {"": ((), "")}  # written -> components, folded
    checked = []
    for path in paths:
        directory, slash, leaf = path.rpartition("/")
        if slash and not directory:
            raise BadName("is absolute")
        if len(path) > MAX_PATH or len(path.encode("utf-8", "replace")) > MAX_PATH:
            raise BadName(f"is longer than {MAX_PATH} octets")
        if directory not in seen:
            seen[directory] = _check_directory(directory, directories)
        components, folded = seen[directory]
        if len(components) >= MAX_COMPONENTS:
            raise BadName(f"is deeper than {MAX_COMPONENTS} directories")
        entry = (folded, fold(check_name(leaf)))
        if entry in files:
            raise BadName("appears twice, as some systems compare names")
        files.add(entry)
        checked.append((*components, leaf))
    if any(folded.rpartition("/")[::2] in files for folded in directories):
        raise BadName("is both a file and a directory")
    return checked


def _check_directory(directory: str, directories: dict[str, str]) -> tuple[tuple[str, ...], str]:
    """The components of a directory and its folded path; it and all above it are put among `directories`."""
    components = check_path(directory)
    folded = written = ""
    for component in components:
        folded = f"{folded}/{fold(component)}" if folded else fold(component)
        written = f"{written}/{component}" if written else component
        # "Docs/a" and "docs/b" are one directory on some systems and two on others
        if directories.setdefault(folded, written) != written:
            raise BadName("differs from another only in the case of a directory")
    return components, folded
