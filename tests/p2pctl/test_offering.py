"""What Tab offers: the right things at each place, quoted to be one word, and shown without harm."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pctl import offering
from p2pctl.cli import summaries
from p2pctl.completing import Candidate
from p2pctl.session import Session
from tests.p2pctl import samples

EXTRA = {"quit": "leave"}
KNOWN = {
    "shared": ["example.txt", "two words.txt", "bad\x1bname"],
    "found": ["elsewhere.iso", "found.iso"],
    "transfers": ["t-12"],
}


def ask(kind: str, text: str) -> list[Candidate]:
    words = KNOWN[kind.partition(":")[0]]
    return [Candidate(word, "known") for word in words if word.casefold().startswith(text.casefold())]


def offers(before: str, *found: dict[str, Any]) -> list[str]:
    """Whole lines, as they would be after each offer."""
    session = Session(numbered=True)
    session.found = list(found)
    start, got = offering.complete(before, session, ask, EXTRA)
    return [before[:start] + offer.text for offer in got]


def test_commands() -> None:
    assert set(offers("")) == {*summaries(), *EXTRA} - {"shell"}
    assert offers("p2pctl qu") == ["p2pctl quit"]
    assert offers("--json sea") == ["--json search"]
    assert offers("nonsense x") == []


def test_options_and_their_values() -> None:
    assert offers("info --verb") == ["info --verbose"]
    assert offers("download x --exists s") == ["download x --exists skip"]


def test_names() -> None:
    assert offers("remove ") == ["remove example.txt", "remove 'two words.txt'"]
    assert offers("remove TWO") == ["remove 'two words.txt'"]
    assert offers("remove 'two w") == ["remove 'two words.txt'"]
    assert offers("remove example.txt e") == []


def test_what_was_found_comes_first_and_once() -> None:
    found = [samples.hit(name="fresh one.iso"), samples.hit(name="found.iso", id=samples.OTHER)]
    assert offers("download f", *found) == ["download 'fresh one.iso'", "download found.iso"]
    assert offers("info ", *found)[-1] == "info elsewhere.iso"


def test_numbers() -> None:
    found = [samples.hit(name=f"{number}.iso") for number in range(12)]
    assert offers("download #1", *found) == ["download #1", "download #10", "download #11", "download #12"]
    assert offers("download #", *()) == []


def test_two_of_one_name_come_as_ids() -> None:
    found = [samples.hit(), samples.hit(id=samples.OTHER)]
    assert offers("download e", *found)[:2] == [f"download {samples.ID}", f"download {samples.OTHER}"]


@pytest.mark.parametrize("name", [samples.HOSTILE, "-rf", "#1", "name:x"])
def test_a_name_that_means_something_else_comes_as_its_id(name: str) -> None:
    session = Session(numbered=True)
    session.found = [samples.hit(name=name)]
    _, got = offering.complete("download ", session, ask, EXTRA)
    assert got[0].text == samples.ID
    assert "\x1b" not in got[0].shown + got[0].about


def test_transfers() -> None:
    assert offers("wait ") == ["wait t-12"]
    assert offers("cancel t-") == ["cancel t-12"]
    assert offers("cancel t-12 t") == []


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a b.txt", "plain", ".hidden", "bad\x1bname", "-dash"):
        (tmp_path / name).touch()
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "in it").touch()
    assert offers("add ") == ["add ./-dash", "add 'a b.txt'", "add dir/", "add plain"]
    assert offers("add .") == ["add .hidden"]
    assert offers("add dir/") == ["add 'dir/in it'"]
    assert offers("add ~/d") == ["add ~/dir/"]
    assert offers("add ~/dir/i") == ["add ~/'dir/in it'"]
    assert offers("download x -o d") == ["download x -o dir/"]
    assert offers("add nowhere/") == []
    assert offers("list --home ") == ["list --home dir/"]


def test_a_daemon_that_does_not_answer() -> None:
    session = Session(numbered=True)
    assert offering.complete("remove ", session, lambda kind, text: [], EXTRA)[1] == []


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))), st.text(" ab'\"\\\t"))
def test_words_are_those_of_sh(words: list[str], tail: str) -> None:
    text = shlex.join(words) + " "
    assert offering.partial(text).words == words
    got = offering.partial(text + tail)
    assert got.words[: len(words)] == words
    assert len(text + tail) >= got.start >= len(text)


def test_the_last_word_as_it_stands() -> None:
    assert offering.partial("a 'b c") == (["a"], 2, "b c")
    assert offering.partial('a "b\\"c') == (["a"], 2, 'b"c')
    assert offering.partial("a b\\ c") == (["a"], 2, "b c")
    assert offering.partial("a ") == (["a"], 2, "")
