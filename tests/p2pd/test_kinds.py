"""p2pd.kinds: what each kind takes, what it says of the rest, and that it takes what it gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from p2pd import kinds
from p2pd.kinds import Key, Reader
from protocol.errors import Fault


@pytest.mark.parametrize(
    ("read", "given", "value"),
    [
        (kinds.text, "x", "x"),
        (kinds.flag, True, True),
        (kinds.flag, "Off", False),
        (kinds.flag, "1", True),
        (kinds.texts, " a, b ,,", ["a", "b"]),
        (kinds.texts, ["a,b"], ["a,b"]),
        (kinds.count(1, 9), "9", 9),
        (kinds.count(1, 9), 1, 1),
        (kinds.size, 64, "64"),
        (kinds.size, " 2g ", "2g"),
        (kinds.choice("a", "b"), "b", "b"),
        (kinds.optional(kinds.choice("a", "b")), "", ""),
        (kinds.optional(kinds.choice("a", "b")), "b", "b"),
        (kinds.rate, "off", 0),
        (kinds.rate, "20K", 20480),
        (kinds.rate, 4096, 4096),
        (kinds.network, "n" * 64, "n" * 64),
        (kinds.path, "~/x", "~/x"),
        (kinds.path, "", ""),
        (kinds.listen(1), "", ""),
        (kinds.listen(1), "[::1]:2", "[::1]:2"),
        (kinds.endpoint(1), "", ""),
        (kinds.endpoint(1), "host", "host"),
        (kinds.endpoints(1), "a, b:2", ["a", "b:2"]),
        (kinds.registry, "", ""),
        (kinds.registry, "/srv/tracker.db", "/srv/tracker.db"),
        (kinds.registry, "postgresql://u@h/d", "postgresql://u@h/d"),
        (kinds.argv, ["/bin/x", "a b", ""], ["/bin/x", "a b", ""]),
        (kinds.argv, "/bin/x 'a b' $HOME", ["/bin/x", "a b", "$HOME"]),
        (kinds.argv, "", []),
    ],
)
def test_what_is_read_is_read_again(read: Reader, given: Any, value: Any) -> None:
    assert read(given, "w") == value
    assert read(value, "w") == value


@pytest.mark.parametrize(
    ("read", "given", "words"),
    [
        (kinds.text, 1, "must be text, not 1"),
        (kinds.flag, "maybe", "must be true or false"),
        (kinds.flag, 1, "must be true or false"),
        (kinds.texts, [1], "must be a list of texts"),
        (kinds.texts, 1, "must be a list of texts"),
        (kinds.count(1, 9), "10", "from 1 to 9, not 10"),
        (kinds.count(1, 9), True, "from 1 to 9"),
        (kinds.count(1, 9), "9" * 5000, "from 1 to 9"),
        (kinds.size, "1.5M", "a size such as 64M"),
        (kinds.size, True, "a size"),
        (kinds.choice("a", "b"), "c", "one of a, b, not 'c'"),
        (kinds.optional(kinds.choice("a", "b")), "c", "one of a, b, not 'c'"),
        (kinds.rate, "fast", "w: "),
        (kinds.rate, True, "must be text"),
        (kinds.network, "", "1 to 64 octets"),
        (kinds.network, "ä" * 33, "1 to 64 octets"),
        (kinds.network, "\udcff", "1 to 64 octets"),
        (kinds.path, "a\0b", "must be a path"),
        (kinds.path, "~nobody-of-this-name/x", "no such user"),
        (kinds.listen(1), "1:2:3", "w: "),
        (kinds.endpoint(1), "a:b", "w: "),
        (kinds.endpoints(1), ["a", "b:c"], "'b:c'"),
        (kinds.argv, ["x"], "is not the path of a program"),
        (kinds.argv, "/bin/x 'a", "no closing quotation"),
        (kinds.argv, [1], "must be a list of texts"),
        (kinds.argv, ["/bin/x", "a\0b"], "a program and its arguments"),
    ],
)
def test_what_is_not_read_is_told_with_its_place(read: Reader, given: Any, words: str) -> None:
    with pytest.raises(Fault) as caught:
        read(given, "w")
    assert caught.value.code == "usage"
    assert caught.value.message.startswith("w")
    assert words in caught.value.message
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(("text", "octets"), [("0", 0), ("64M", 64 << 20), ("1k", 1024), ("1TiB", 1 << 40)])
def test_sizes_in_octets(text: str, octets: int) -> None:
    assert kinds.octets(kinds.size(text, "w")) == octets


def test_paths_in_full() -> None:
    assert kinds.absolute("~/x") == Path.home() / "x"
    assert kinds.absolute("x") == Path.cwd() / "x"


def test_when_a_change_holds() -> None:
    assert Key("", kinds.text, "").applies == "restart"
    assert Key("", kinds.text, "", live=True).applies == "live"


def test_a_wrong_registry_is_not_repeated() -> None:
    for value in ("mysql://u:secret@h/d", 5, "postgres:secret://x"):
        with pytest.raises(Fault) as caught:
            kinds.registry(value, "--registry")
        assert caught.value.message.startswith("--registry must be ")
        assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:secret@h:1/d", "postgresql://u:***@h:1/d"),
        ("postgres://u:se?c:ret@h/d", "postgres://u:***@h/d"),
        ("postgresql:///d?host=h&password=secret&sslmode=x", "postgresql:///d?host=h&password=***&sslmode=x"),
        ("postgresql://u:se/c@ret@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("/srv/a:b@c.db", "/srv/a:b@c.db"),
        (None, None),
    ],
)
def test_a_password_is_masked(address: str | None, shown: str | None) -> None:
    assert kinds.without_password(address) == shown
