"""Whatever is accepted as a name is harmless."""

from __future__ import annotations

import os
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from protocol.names import BadName, check_name, check_path, check_tree, fold

ROOT = os.path.join(os.sep, "root", "of", "downloads")
hostile = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "\\",
        ":",
        "~",
        " ",
        "\0",
        "\n",
        "\u202e",
        "\u200b",
        "\udcff",
        "é",
        "e\u0301",
        "CON",
        "nul",
        "COM1",
        "a",
        "A",
    ]
)
texts = st.one_of(
    st.text(max_size=40), st.lists(hostile, max_size=8).map("".join), st.text("a./", max_size=12)
)


@given(texts)
@example("..")
@example("a/../../b")
def test_an_accepted_name_is_one_thing_below_the_root(text: str) -> None:
    try:
        name = check_name(text)
    except BadName:
        return
    assert name == text == check_name(name)
    joined = os.path.normpath(os.path.join(ROOT, name))
    assert os.path.dirname(joined) == ROOT
    assert os.path.basename(joined) == name
    assert os.fsdecode(os.fsencode(name)) == name
    assert unicodedata.normalize("NFC", name) == name
    assert len(name.encode("utf-8")) <= 255
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name)


@given(texts)
def test_an_accepted_path_stays_below_the_root(text: str) -> None:
    try:
        components = check_path(text)
    except BadName:
        return
    assert "/".join(components) == text
    assert check_path("/".join(components)) == components
    joined = os.path.normpath(os.path.join(ROOT, *components))
    assert joined == os.path.join(ROOT, text)
    assert os.path.commonpath([ROOT, joined]) == ROOT
    assert joined != ROOT


@given(st.lists(st.text("aAb/", min_size=1, max_size=5), max_size=6))
def test_an_accepted_tree_is_the_same_tree_where_case_does_not_count(paths: list[str]) -> None:
    try:
        checked = check_tree(paths)
    except BadName:
        return
    assert ["/".join(components) for components in checked] == paths
    folded = [tuple(fold(component) for component in components) for components in checked]
    assert len(set(folded)) == len(paths)
    directories = {components[:depth] for components in folded for depth in range(1, len(components))}
    assert directories.isdisjoint(folded)
