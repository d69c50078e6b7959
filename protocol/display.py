"""Text from elsewhere, made safe to show.

The rule: nothing that came from the network or from a file system reaches a terminal or a log before `safe`.
What cannot be seen, or changes how its neighbours are seen, is written as its number: `\\u{202e}`. The same
table says what a name may not hold (protocol/names.py).

Imported by the client at every start: no imports, and a table of ranges written out instead of `unicodedata`.
"""

from __future__ import annotations

CONTROL = ((0x00, 0x1F), (0x7F, 0x9F), (0x2028, 0x2029))
"""C0 and C1 controls, delete, line and paragraph separators: they move the cursor or break the line."""

SURROGATE = ((0xD800, 0xDFFF),)
"""Halves of UTF-16 pairs; in Python text they stand for octets that are not UTF-8."""

BIDI = ((0x61C, 0x61C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069))
"""Bidirectional controls (Unicode UAX 9, section 2): they reorder what follows, so `exe.txt` can be shown for
`txt.exe`."""

INVISIBLE = (
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180E, 0x180E),
    (0x200B, 0x200D),
    (0x2060, 0x2065),
    (0x206A, 0x206F),
    (0x3164, 0x3164),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE00FF),
    (0xE01F0, 0xE0FFF),
)
"""Default-ignorable code points (Unicode, DerivedCoreProperties), which make two names look equal. Left out,
so allowed: variation selectors (U+FE00-FE0F, U+180B-180F, U+E0100-E01EF), because ordinary emoji and Japanese
names hold them."""

_KINDS = (
    ("control character", CONTROL),
    ("surrogate", SURROGATE),
    ("bidirectional control", BIDI),
    ("invisible character", INVISIBLE),
)


def hidden(character: str) -> str:
    """Why this one character is not shown ("control character", ...), or "" when it may be."""
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return ""
    for kind, ranges in _KINDS:
        for first, last in ranges:
            if first <= code <= last:
                return kind
    return ""


def safe(text: str) -> str:
    """`text` with every hidden character as `\\u{hex}`; it is one line, and always encodes as UTF-8."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{{{ord(character):x}}}" if hidden(character) else character for character in text)


def quoted(text: str) -> str:
    """`safe` between quotation marks."""
    return f"'{safe(text)}'"


def is_utf8(text: str) -> bool:
    """False for text of the command line or a directory that stands for octets which are not UTF-8."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
