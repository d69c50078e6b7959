"""The five shapes, cells, tables, errors."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pctl import render
from p2pctl.render import LONG_CURSOR, Output, View
from protocol.display import hidden
from protocol.errors import Fault
from tests.fakes.screens import FakeTerminal

HOSTILE = "a\tb\nc\\d\r\x1b[31m\u202e\udcff"


def show_lines(output: Output, items: list[dict[str, Any]]) -> None:
    for item in items:
        output.line(str(item["name"]))


VIEW = View(("id", "name", "size_bytes", "ok"), "id", show_lines, "nothing here", ("more",))


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> FakeTerminal:
    """Put a terminal in place of sys.stdout; not in a fixture, whose stream pytest would replace."""
    terminal = FakeTerminal(30)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("p2pctl.screen.terminal_size", lambda stream: terminal.size())
    return terminal


def run(shape: str, items: list[dict[str, Any]], **options: Any) -> int:
    output = Output("x", shape, **options)
    output.show(VIEW, items)
    return output.finish(VIEW)


ITEM = {"id": "7f", "name": HOSTILE, "size_bytes": 5, "ok": True, "more": [1, None]}


def test_json_is_raw_utf8_and_keeps_stray_octets(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("json", [{**ITEM, "name": "ä\udcff"}]) == 0
    out = capsysbinary.readouterr().out
    assert "ä".encode() in out
    document = json.loads(out)
    assert document == {
        "schema": "p2p.x/1",
        "items": [{**ITEM, "name": "ä\udcff"}],
        "partial": False,
        "next": None,
        "warnings": [],
    }


def test_json_holds_nothing_that_a_terminal_obeys(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    name = "a\x1b[1m\x7f\x9b2J\u202eb\u200b\U000e0041ä"
    for shape in ("json", "jsonl"):
        assert run(shape, [{**ITEM, "name": name}]) == 0
        out = capsysbinary.readouterr().out
        assert [c for c in out.decode().rstrip("\n") if hidden(c)] == []
        assert "ä" in out.decode()
        document = json.loads(out)
        assert (document["items"][0] if shape == "json" else document)["name"] == name


def test_json_without_items_is_still_a_document(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("json", []) == 0
    captured = capsysbinary.readouterr()
    assert json.loads(captured.out)["items"] == []
    assert captured.err == b""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_json_is_what_the_library_makes_of_it(value: object) -> None:
    assert render._encoder()(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def test_json_without_the_encoder_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_json", None)
    assert render._encoder()({"a": [1, "ä", None]}) == '{"a":[1,"ä",null]}'


def test_what_is_no_json_is_an_error() -> None:
    with pytest.raises(TypeError):
        render._encoder()({"a": b""})


def test_jsonl(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    run("jsonl", [ITEM, ITEM])
    lines = capsysbinary.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [ITEM, ITEM]


def test_tsv_escapes_and_nothing_for_null(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    run("tsv", [ITEM, {"id": None, "ok": False}])
    out = capsysbinary.readouterr().out
    assert out == b"7f\ta\\tb\\nc\\\\d\\r\x1b[31m\xe2\x80\xae\xff\t5\ttrue\n\t\t\tfalse\n"


def test_tsv_header_and_columns(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    output = Output("x", "tsv")
    output.choose("size_bytes,more", True)
    output.show(VIEW, [ITEM])
    output.show(VIEW, [ITEM])
    assert capsysbinary.readouterr().out == b"size_bytes\tmore\n5\t[1,null]\n5\t[1,null]\n"


def test_a_table_without_rows_has_its_header(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    output = Output("x", "tsv")
    output.choose("size_bytes,more", True)
    assert output.finish(VIEW) == 0
    assert capsysbinary.readouterr().out == b"size_bytes\tmore\n"


@pytest.mark.parametrize(
    ("word", "hint"), [("sizebytes", "did you mean size_bytes?"), ("x", "columns here: ")]
)
def test_an_unknown_column(word: str, hint: str) -> None:
    VIEW.check(["size_bytes", "more"])
    with pytest.raises(Fault) as caught:
        VIEW.check(["more", word])
    assert (caught.value.code, caught.value.message) == ("usage", f"there is no column {word!r}")
    assert hint in caught.value.hint


def test_quiet(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    run("quiet", [{"id": "/a\udcff"}, {"id": None}, {"id": "b"}])
    assert capsysbinary.readouterr().out == b"/a\xff\nb\n"


def test_human_shows_nothing_raw(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    run("human", [ITEM])
    out = capsysbinary.readouterr().out.decode()
    assert out.count("\n") == 1
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_nothing_to_show_is_said_on_stderr(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("human", []) == 0
    captured = capsysbinary.readouterr()
    assert (captured.out, captured.err) == (b"", b"nothing here\n")


@pytest.mark.parametrize("shape", ["tsv", "quiet"])
def test_a_terminal_gets_nothing_raw_in_any_shape(monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    terminal = on_terminal(monkeypatch)
    run(shape, [{**ITEM, "id": HOSTILE}])
    assert "\x1b" not in terminal.text
    assert "\u202e" not in terminal.text


class TestTable:
    HEAD = ("ID", ">SIZE", "NAME")

    def test_aligned_in_a_pipe_and_never_cut(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        output = Output("x", "human")
        output.table(self.HEAD, [("7f", "5 B", "n" * 300), ("7f3a", "1.4 GiB", "宽宽")])
        lines = capsysbinary.readouterr().out.decode().splitlines()
        assert lines == ["ID       SIZE  NAME", "7f        5 B  " + "n" * 300, "7f3a  1.4 GiB  宽宽"]

    def test_a_simple_terminal_gets_what_a_pipe_gets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = on_terminal(monkeypatch)
        monkeypatch.setenv("TERM", "dumb")
        Output("x", "human").table(("ID", "?>SIZE", "NAME"), [("7f", "5 B", "n" * 40)])
        assert terminal.text.splitlines() == ["ID  SIZE  NAME", "7f   5 B  " + "n" * 40]

    def test_cut_to_the_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = on_terminal(monkeypatch)
        output = Output("x", "human", color=False)
        output.table(self.HEAD, [("7f3a91c2", "5 B", "n" * 30), ("7f3a91c2", "5 B", "宽" * 30)])
        lines = terminal.text.splitlines()
        assert lines[0] == "ID        SIZE  NAME"
        assert lines[1] == "7f3a91c2   5 B  " + "n" * 13 + "…"
        assert lines[2] == "7f3a91c2   5 B  " + "宽" * 6 + " …"
        assert all(render.columns(line) <= 30 for line in lines)

    def test_colour_only_on_a_terminal_that_wants_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = on_terminal(monkeypatch)
        Output("x", "human", color=True).table(self.HEAD, [("7f", "5 B", "n")])
        assert terminal.text.startswith("\x1b[1mID")

    def test_one_header_over_pages(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        output = Output("x", "human")
        output.table(self.HEAD, [("7f3a91c2", "5 B", "a")])
        output.table(self.HEAD, [("7f", "5 B", "b")])
        lines = capsysbinary.readouterr().out.decode().splitlines()
        assert lines == ["ID        SIZE  NAME", "7f3a91c2   5 B  a", "7f         5 B  b"]


class TestFailures:
    def test_one_of_several_is_in_the_document(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        output = Output("x", "json")
        output.show(VIEW, [ITEM])
        output.fail("b.txt", Fault("not_found", "no such file", "look", {"path": "/b"}), 2)
        assert output.finish(VIEW, 2) == 12
        captured = capsysbinary.readouterr()
        document = json.loads(captured.out)
        assert document["partial"] is True
        assert document["items"] == [ITEM]
        failed = {
            "code": "not_found",
            "exit": 4,
            "message": "no such file",
            "hint": "look",
            "details": {"path": "/b"},
        }
        assert document["failed"] == [{"subject": "b.txt", **failed}]
        assert json.loads(captured.err) == {"schema": "p2p.error/1", **failed, "subject": "b.txt"}

    def test_the_only_one_leaves_stdout_empty(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        output = Output("x", "json")
        output.fail("b.txt", Fault("not_found", "no such file"), 1)
        assert output.finish(VIEW) == 4
        captured = capsysbinary.readouterr()
        assert captured.out == b""
        assert "subject" not in json.loads(captured.err)

    def test_matches_for_people(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        matches = [{"id": "7f3a91c2" * 8, "name": "a\x1b.txt", "size_bytes": 1024}, {"id": None}]
        render.report(
            Fault("ambiguous", "2 files match", "write more", {"matches": matches}), "human", "7f3a91c2"
        )
        err = capsysbinary.readouterr().err.decode()
        assert err.splitlines() == [
            "p2pctl: 7f3a91c2: 2 files match",
            "  7f3a91c27f3a91c2     1.0 KiB  a\\u{1b}.txt",
            "  None         0 B  None",
            "  hint: write more",
        ]

    def test_a_long_cursor_is_for_programs(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        cursor = "c" * (LONG_CURSOR + 1)
        for shape in ("human", "jsonl", "tsv", "quiet"):
            output = Output("x", shape)
            output.page(VIEW, {"items": [], "next": cursor})
            output.finish(VIEW)
        people, _, *programs = capsysbinary.readouterr().err.decode().splitlines()
        assert people == (
            "p2pctl: more follow: a higher --limit shows them; the cursor of the next page is `next` under --json"
        )
        assert len(programs) == 3
        assert all(f"more follow: --cursor {cursor}" in line for line in programs)

    def test_warnings(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        page = {"items": [], "next": "c", "partial": True, "warnings": ["w\x1b", "w\x1b"]}
        for shape in ("human", "jsonl", "json"):
            output = Output("x", shape)
            output.page(VIEW, page)
            output.finish(VIEW)
        captured = capsysbinary.readouterr()
        lines = captured.err.decode().splitlines()
        assert lines[:2] == ["p2pctl: w\\u{1b}", "p2pctl: more follow: --cursor c"]
        assert [json.loads(line)["message"] for line in lines[3:]] == ["w\x1b", "more follow: --cursor c"]
        assert lines[2] == "nothing here"
        document = json.loads(captured.out)
        assert (document["partial"], document["next"], document["warnings"]) == (True, "c", ["w\x1b"])
