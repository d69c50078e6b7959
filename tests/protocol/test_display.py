"""protocol/display.py: what cannot be seen is written as its number."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from protocol.display import hidden, is_utf8, quoted, safe


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain text.txt", "plain text.txt"),
        ("a\nb\tc", r"a\u{a}b\u{9}c"),
        ("\x1b[31mred", r"\u{1b}[31mred"),
        ("\x7f\x85\x9b", r"\u{7f}\u{85}\u{9b}"),
        ("gpj.\u202eexe", r"gpj.\u{202e}exe"),
        ("a\u200bb\ufeff", r"a\u{200b}b\u{feff}"),
        ("\u2028\u2029", r"\u{2028}\u{2029}"),
        ("\udcff", r"\u{dcff}"),
        ("\U000e0041", r"\u{e0041}"),
        ("naïve 日本語\u3000☃\ufe0f", "naïve 日本語\u3000☃\ufe0f"),
        ("葛\U000e0100城", "葛\U000e0100城"),
    ],
)
def test_what_is_hidden_becomes_its_number(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_every_control_surrogate_and_separator_of_unicode_is_hidden() -> None:
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp"):
            assert hidden(chr(code)), hex(code)


def test_every_character_with_a_bidirectional_control_class_is_hidden() -> None:
    classes = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for code in range(sys.maxunicode + 1):
        if unicodedata.bidirectional(chr(code)) in classes:
            assert hidden(chr(code)) == "bidirectional control", hex(code)


def test_no_letter_digit_or_space_is_hidden_but_the_hangul_fillers() -> None:
    found = {
        code
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in ("Lu", "Ll", "Lt", "Lo", "Nd", "Zs") and hidden(chr(code))
    }
    assert found == {0x115F, 0x1160, 0x3164, 0xFFA0}


def test_any_text_is_one_line_of_utf8_after_it() -> None:
    shown = safe("".join(map(chr, range(0x3000))) + "\ud800\udfff")
    assert shown.encode("utf-8")
    assert len(shown.splitlines()) == 1


def test_quotation_marks_and_utf_8() -> None:
    assert quoted("it's\x1b\\") == "'it's\\u{1b}\\'"
    assert [is_utf8(text) for text in ("", "a", "日本\x1b", "a\udcff")] == [True, True, True, False]


def test_it_imports_nothing() -> None:
    code = (
        "import sys; old = set(sys.modules); import protocol.display; print(sorted(set(sys.modules) - old))"
    )
    repository = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repository
    )
    assert run.stdout.strip() == "['__future__', 'protocol', 'protocol.display']"
