"""A command line of bash that is being typed: its words, and how a completion of the last one is written.

The rule: bash(1) "QUOTING" for what the words are; readline replaces the last word from the last character of COMP_WORDBREAKS
on that is not quoted, and adds the closing quote itself. Pure; expands nothing.
"""

from __future__ import annotations

SPACE = " \t\n"
ENDS = ";|&()"  # after these a new command begins
BREAKS = ":=<>"
"""Those of the default COMP_WORDBREAKS that may stand inside a word."""

_IN_DOUBLE = '\\"$`'
_SPECIAL = frozenset(" \t\n\\'\"`$&|;()<>*?[]{}~#!^=:")


class Typed:
    """`words` are unquoted, the last is the one at the cursor; `quote` is the quote that is open in it, or "";
    `kept` is the part of it, unquoted, that readline leaves as it is.
    """

    __slots__ = ("kept", "quote", "words")

    def __init__(self, words: list[str], quote: str, kept: str) -> None:
        self.words = words
        self.quote = quote
        self.kept = kept


def split(line: str) -> Typed:
    """`line`, up to the cursor."""
    words: list[str] = []
    word = ""
    kept = ""
    begun = False
    quote = ""
    index = 0
    while index < len(line):
        letter = line[index]
        index += 1
        if quote == "'":
            if letter == "'":
                quote = ""
            else:
                word += letter
        elif quote == '"':
            if letter == '"':
                quote = ""
            elif letter == "\\" and line[index : index + 1] and line[index] in _IN_DOUBLE:
                word += line[index]
                index += 1
            else:
                word += letter
        elif letter in "'\"":
            quote = letter
            begun = True
            kept = word
        elif letter == "\\":
            word += line[index : index + 1]
            index += 1
            begun = True
        elif letter in SPACE:
            if begun:
                words.append(word)
            word, kept, begun = "", "", False
        elif letter in ENDS:
            words, word, kept, begun = [], "", "", False
        else:
            word += letter
            begun = True
            if letter in BREAKS:
                kept = word
    return Typed([*words, word], quote, kept)


def insertion(value: str, typed: Typed) -> str | None:
    """What bash is to put in the place of the last word so that it becomes `value`; None if it cannot be."""
    if not value.startswith(typed.kept):
        return None
    rest = value[len(typed.kept) :]
    if typed.quote == "'":
        return None if "'" in rest else rest
    if typed.quote == '"':
        if "!" in rest:
            return None  # history expansion, and no way to quote it here
        return "".join("\\" + letter if letter in _IN_DOUBLE else letter for letter in rest)
    return "".join("\\" + letter if letter in _SPECIAL else letter for letter in rest)
