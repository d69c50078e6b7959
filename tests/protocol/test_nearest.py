"""The nearest known word."""

from __future__ import annotations

import pytest

from protocol.nearest import hint, nearest

OPTIONS = ["--limit", "--min-size", "--max-size", "--sort", "-q", "--quiet"]


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [
        ("--srot", OPTIONS, "--sort"),
        ("--limt", OPTIONS, "--limit"),
        ("--min_size", OPTIONS, "--min-size"),
        ("-limit", OPTIONS, "--limit"),
        ("SIZE", ["name", "size"], "size"),
        ("--bogus", OPTIONS, ""),
        ("--x", OPTIONS, ""),
        ("", OPTIONS, ""),
        ("x", [], ""),
    ],
)
def test_nearest(word: str, known: list[str], found: str) -> None:
    assert nearest(word, known) == found


def test_dashes_alone_make_nothing_alike() -> None:
    assert nearest("--ab", ["--xy"]) == ""


def test_the_hint() -> None:
    assert hint("--srot", OPTIONS, "see the help") == "did you mean --sort?"
    assert hint("--bogus", OPTIONS, "see the help") == "see the help"
