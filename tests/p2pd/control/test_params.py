"""p2pd/control/params.py: what does not fit is refused with the name of the parameter."""

from __future__ import annotations

from typing import Any

import pytest

from p2pd.control import params
from protocol.errors import Fault
from protocol.limits import CONTROL_PAGE, MAX_FILE, MAX_QUERY
from protocol.version import VERSION


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (params.Nothing, {}),
        (params.Add, {"path": "/a"}),
        (params.Add, {"path": "/a", "name": "b", "wait": False}),
        (params.Ref, {"ref": "a"}),
        (params.Page, {}),
        (params.Page, {"cursor": "x", "limit": CONTROL_PAGE}),
        (
            params.Search,
            {"text": "a", "ext": "pdf", "min_size_bytes": 0, "max_size_bytes": MAX_FILE, "sort": "name"},
        ),
        (params.Peers, {"ref": None}),
        (params.Download, {"ref": "a", "directory": "/"}),
        (params.Transfer, {"transfer": "t-1"}),
    ],
)
def test_what_fits(kind: type[Any], given: dict[str, Any]) -> None:
    read = params.read(kind, given)
    assert {name: getattr(read, name) for name in given} == given


def test_a_parameter_of_a_newer_release() -> None:
    with pytest.raises(Fault) as caught:
        params.read(params.Add, {"path": "/a", "colour": "red"})
    assert caught.value.code == "version"
    assert "'colour'" in caught.value.message
    assert caught.value.details == {"parameter": "colour", "daemon_version": VERSION}
    # which nobody asked for
    assert params.read(params.Add, {"path": "/a", "colour": None}).path == "/a"


@pytest.mark.parametrize(
    ("kind", "given", "named"),
    [
        (params.Add, {}, "path"),
        (params.Add, {"path": "relative"}, "path"),
        (params.Add, {"path": "/" * 5000}, "path"),
        (params.Add, {"path": "/a", "name": "n" * 300}, "name"),
        (params.Add, {"path": "/a", "wait": 1}, "wait"),
        (params.Ref, {"ref": ""}, "ref"),
        (params.Ref, {"ref": 5}, "ref"),
        (params.Page, {"limit": 0}, "limit"),
        (params.Page, {"limit": CONTROL_PAGE + 1}, "limit"),
        (params.Search, {"text": "a", "min_size_bytes": -1}, "min_size_bytes"),
        (params.Search, {"text": "a", "max_size_bytes": MAX_FILE + 1}, "max_size_bytes"),
        (params.Search, {"text": "a", "ext": "e" * 33}, "ext"),
        (params.Download, {"ref": "a"}, "directory"),
        (params.Download, {"ref": "a", "directory": "here"}, "directory"),
        (params.Download, {"ref": "a", "directory": "/", "file": ""}, "file"),
        (params.Download, {"ref": "a", "directory": "/", "prefix": "p" * 65}, "prefix"),
        (params.Transfer, {"transfer": "t" * 25}, "transfer"),
    ],
)
def test_what_does_not_fit_is_named(kind: type[Any], given: dict[str, Any], named: str) -> None:
    with pytest.raises(Fault) as caught:
        params.read(kind, given)
    assert caught.value.code == "usage"
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (params.Search, {"text": "a\udcff"}),
        (params.Search, {"text": "a", "without": ["b", "c\udcff"]}),
        (params.Add, {"path": "/a", "excludes": ["\udcff"]}),
    ],
)
def test_what_is_not_utf_8(kind: type[Any], given: dict[str, Any]) -> None:
    with pytest.raises(Fault) as caught:
        params.read(kind, given)
    assert caught.value.code == "usage"
    assert caught.value.message.endswith("\\u{dcff}' is not UTF-8")


def test_names_of_files_need_not_be_utf_8() -> None:
    assert params.read(params.Add, {"path": "/a\udcff"}).path == "/a\udcff"
    assert params.read(params.Ref, {"ref": "a\udcff"}).ref == "a\udcff"


def test_search_texts() -> None:
    assert params.check_query("a b") == "a b"
    assert params.check_query("\u20ac" * (MAX_QUERY // 3))
    for text in ("", "  ", "x" * (MAX_QUERY + 1), "\u20ac" * (MAX_QUERY // 3 + 1)):
        with pytest.raises(Fault) as caught:
            params.check_query(text)
        assert caught.value.code == "usage"
        assert caught.value.hint
