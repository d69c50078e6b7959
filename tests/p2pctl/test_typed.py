"""p2pctl/typed.py: words of a line as bash sees them, and what it is to insert. Checked against bash itself."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pctl.typed import insertion, split


@pytest.mark.parametrize(
    ("line", "words", "quote", "kept"),
    [
        ("p2pctl ", ["p2pctl", ""], "", ""),
        ("p2pctl dow", ["p2pctl", "dow"], "", ""),
        ("p2pctl add 'my re", ["p2pctl", "add", "my re"], "'", ""),
        ('p2pctl add "a \\"b', ["p2pctl", "add", 'a "b'], '"', ""),
        ("p2pctl add my\\ re", ["p2pctl", "add", "my re"], "", ""),
        ("p2pctl info name:a", ["p2pctl", "info", "name:a"], "", "name:"),
        ("p2pctl info name\\:a", ["p2pctl", "info", "name:a"], "", ""),
        ("p2pctl list --home=x", ["p2pctl", "list", "--home=x"], "", "--home="),
        ("p2pctl info ab'c d", ["p2pctl", "info", "abc d"], "'", "ab"),
        ("sleep 1; p2pctl li", ["p2pctl", "li"], "", ""),
        ("p2pctl info '' ", ["p2pctl", "info", "", ""], "", ""),
        ("p2pctl info a\\", ["p2pctl", "info", "a"], "", ""),
        ("", [""], "", ""),
    ],
)
def test_a_line_up_to_the_cursor(line: str, words: list[str], quote: str, kept: str) -> None:
    typed = split(line)
    assert (typed.words, typed.quote, typed.kept) == (words, quote, kept)


def test_what_readline_leaves_is_not_inserted_again() -> None:
    assert insertion("name:a b", split("x name:a")) == "a\\ b"
    assert insertion("--exists=skip", split("x --exists=s")) == "skip"
    assert insertion("other", split("x name:a")) is None


def test_what_cannot_stand_in_quotes() -> None:
    assert insertion("it's", split("x 'it")) is None
    assert insertion("it!", split('x "it')) is None


TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=20), st.sampled_from(["", '"', "'"]))
def test_bash_reads_what_was_inserted_as_the_value(values: list[str], quote: str) -> None:
    line = "x " + quote
    inserted = [(value, insertion(value, split(line))) for value in values]
    usable = [(value, text) for value, text in inserted if text is not None]
    script = "printf '%s\\0' " + " ".join(quote + text + quote for _, text in usable) if usable else "true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == [value for value, _ in usable]
    cannot = {"'": "'", '"': "!"}.get(quote)
    assert len(usable) == sum(cannot is None or cannot not in value for value in values)
