"""p2pd.tomlfile: lines of keys, mistakes with their line, and what is written is read back."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd import tomlfile
from protocol.errors import Fault

TRICKY = '''\
# [no] = 1
[a]
x = "# no comment, y = 1"

text = """
[b]
z = 1 \\""" ""
"""
raw = \'\'\'
"""
[c]\'\'\'\'
list = [ # ]
  "]", '[',
  [1],
]
"quoted.key" = 1
d . e = {f = 1, g = "}"}
[ "h" . i ]
j = 1
[[k]]
l = 1
[[k]]
l = 2
last = 3'''


def test_where_keys_stand_in_a_tricky_document() -> None:
    tomllib.loads(TRICKY)
    assert tomlfile.lines(TRICKY) == {
        ("a",): 2,
        ("a", "x"): 3,
        ("a", "text"): 5,
        ("a", "raw"): 9,
        ("a", "list"): 12,
        ("a", "quoted.key"): 16,
        ("a", "d"): 17,
        ("a", "d", "e"): 17,
        ("h",): 18,
        ("h", "i"): 18,
        ("h", "i", "j"): 19,
        ("k",): 20,
        ("k", "l"): 21,
        ("k", "last"): 24,
    }


def test_a_place_without_a_line_is_that_of_what_it_is_in(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("\na = {b = 1}\n")
    document = tomlfile.read(path)
    assert document.where("a", "b") == f"{path}:2"
    assert document.where("z") == str(path)


@pytest.mark.parametrize(
    ("octets", "line", "words"),
    [
        (b"[peer\n", 1, "not TOML"),
        (b"a = 1\nb = \n", 2, "not TOML"),
        (b"a = 1\r\nb = 2\r\nc\r\n", 3, "not TOML"),
        (b"a = 1\na = 2\n", 2, "overwrite"),
        (b'a = """\nx\n', 2, "not TOML"),
        (b"a = 1\n# \xff\n", 2, "not UTF-8"),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, octets: bytes, line: int, words: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(octets)
    with pytest.raises(Fault) as caught:
        tomlfile.read(path)
    assert caught.value.code == "usage"
    assert caught.value.message.startswith(f"{path}:{line}: ")
    assert words in caught.value.message


def test_what_is_no_file_of_settings(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tomlfile.read(tmp_path / "missing")
    with pytest.raises(Fault, match="Is a directory"):
        tomlfile.read(tmp_path)
    with pytest.raises(Fault, match="over 1048576 octets"):
        tomlfile.read(Path("/dev/zero"))


VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.text(st.characters(exclude_categories=("Cs",))),
    st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), max_size=3),
)


@settings(max_examples=50)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}\.[a-z_]{1,5}", fullmatch=True), VALUES))
def test_what_is_written_is_read_back(values: dict[str, Any]) -> None:
    text = tomlfile.write(values, "first\nsecond")
    assert text.startswith("# first\n# second\n")
    read = tomllib.loads(text)
    assert {f"{section}.{key}": value for section in read for key, value in read[section].items()} == values
    found = tomlfile.lines(text)
    for name in values:
        section, _, key = name.partition(".")
        assert text.split("\n")[found[section, key] - 1].startswith(f"{key} = ")


def test_text_that_is_not_utf_8_is_not_written() -> None:
    with pytest.raises(Fault, match=r"a\.b must be UTF-8"):
        tomlfile.write({"a.b": ["\udcff"]}, "x")
