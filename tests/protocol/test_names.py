"""protocol/names.py: a name is accepted as it is or rejected with the reason."""

from __future__ import annotations

import pytest

from protocol.errors import RemoteProtocolError
from protocol.names import BadName, check_name, check_path, check_tree, fold, own_name

ACCEPTED = [
    "a",
    "example.txt",
    "two words.tar.gz",
    ".hidden",
    "...a",
    "-rf",
    "~",
    "$HOME",
    "100%",
    "what?.txt",
    "naïve.txt",
    "日本語 ファイル.txt",
    "heart ❤\ufe0f.png",
    "a" * 255,
    "é" * 127,
    "console",
    "com10.txt",
    "nul-le.txt",
    "icon.nul",
]


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_as_it_is(name: str) -> None:
    assert check_name(name) is name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        (".", "means a directory"),
        ("..", "means a directory"),
        ("a/b", "separates paths"),
        ("/etc/passwd", "separates paths"),
        ("a\\b", "separates paths"),
        ("C:", "separates paths"),
        ("a:stream", "separates paths"),
        ("a\0", r"holds \u{0} (control character)"),
        ("a\nb", r"holds \u{a} (control character)"),
        ("a\x1b[2J", r"holds \u{1b} (control character)"),
        ("a\x80", r"holds \u{80} (control character)"),
        ("a\u202etxt.exe", r"holds \u{202e} (bidirectional control)"),
        ("a\u200b", r"holds \u{200b} (invisible character)"),
        ("\ufeffa", r"holds \u{feff} (invisible character)"),
        ("a\udcff", r"holds \u{dcff} (surrogate)"),
        ("a" * 256, "is longer than 255 octets"),
        ("é" * 128, "is longer than 255 octets"),
        ("e\u0301", "is not in Unicode normal form C"),
        ("\u212b", "is not in Unicode normal form C"),
        ("a.", "ends with a dot or a space"),
        ("a ", "ends with a dot or a space"),
        (" ", "ends with a dot or a space"),
        ("...", "ends with a dot or a space"),
        ("CON", "device on Windows, CON"),
        ("con.txt", "device on Windows, CON"),
        ("nul .txt", "device on Windows, NUL"),
        ("Aux.tar.gz", "device on Windows, AUX"),
        ("COM1", "device on Windows, COM1"),
        ("lpt9.log", "device on Windows, LPT9"),
        ("COM\u00b2", "device on Windows, COM\u00b2"),
        ("conin$", "device on Windows, CONIN$"),
        (".t-1-00112233.p2pd-part", "marks unfinished downloads"),
        ("x.P2PD-PART", "marks unfinished downloads"),
    ],
)
def test_rejected_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(BadName) as caught:
        check_name(name)
    assert reason in str(caught.value)
    assert isinstance(caught.value, RemoteProtocolError)
    assert str(caught.value).isprintable()


def test_path() -> None:
    assert check_path("a") == ("a",)
    assert check_path("a/b.c/d e") == ("a", "b.c", "d e")
    assert check_path("/".join(["a"] * 32)) == ("a",) * 32


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "is empty"),
        ("/a", "is absolute"),
        ("a//b", "is empty"),
        ("a/", "is empty"),
        ("a/../b", "means a directory"),
        ("./a", "means a directory"),
        ("a/nul/b", "device"),
        ("/".join(["a"] * 33), "is deeper than 32"),
        ("/".join(["a" * 255] * 5), "is longer than 1024"),
        ("é/" * 400 + "a", "is longer than 1024"),
        ("a/\udc80", "surrogate"),
    ],
)
def test_path_rejected(path: str, reason: str) -> None:
    with pytest.raises(BadName, match=reason):
        check_path(path)


def test_an_own_name_is_given_out_composed_and_checked_then() -> None:
    assert check_name(own_name("Cafe\u0301 \u212b.txt")) == "Caf\xe9 \xc5.txt"
    assert own_name("e\u0301/u\u0308/plain") == "\xe9/\xfc/plain"
    assert own_name("a\udcff") == "a\udcff", "what is not UTF-8 stays as it is, and is refused"
    with pytest.raises(BadName, match="is longer than 255 octets"):
        check_name(own_name("\u0958" * 85))  # becomes longer: 3 octets each before, 6 after


def test_fold_joins_what_some_systems_take_for_one() -> None:
    assert fold("README") == fold("ReadMe")
    assert fold("straße") == fold("STRASSE")
    assert fold("a") != fold("b")


def test_tree() -> None:
    assert check_tree(["a", "d/a", "d/e/a", "D2/a"]) == [("a",), ("d", "a"), ("d", "e", "a"), ("D2", "a")]


@pytest.mark.parametrize(
    "paths",
    [
        ["a", "a"],
        ["d/Readme", "d/README"],
        ["a", "a/b"],
        ["a/b", "A"],
        ["a/b/c", "a/b"],
        ["d/a", "D/b"],
        ["a", "b/.."],
    ],
)
def test_tree_rejected(paths: list[str]) -> None:
    with pytest.raises(BadName):
        check_tree(paths)
