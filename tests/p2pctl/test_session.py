"""Several command lines in one process: one connection, options that hold for all, numbers for what was found."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pctl import args
from p2pctl.cli import run_line
from p2pctl.session import Session, expand, words_of
from protocol.errors import Fault
from tests.fakes.control_daemon import ControlDaemon
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Outcome
from tests.p2pctl.samples import page

Line = Callable[..., Outcome]


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session(numbered=True)
    yield made
    made.close()


@pytest.fixture
def line(session: Session, capsysbinary: pytest.CaptureFixture[bytes], place: Path) -> Line:
    """Run a line in the session."""

    def run(*words: str) -> Outcome:
        status = run_line(words, session)
        captured = capsysbinary.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


def values(*argv: str) -> Any:
    return args.parse(args.parser("shell", "shell", ""), argv)


class TestConnection:
    def test_one_for_all_lines(self, daemon: Daemon, line: Line, session: Session) -> None:
        daemon.on["list"] = page(samples.share())
        assert line("list").status == 0
        first = session._client
        assert first is not None
        link = first._link
        assert line("list").status == 0
        assert session._client is first
        assert link is not None
        assert first._link is link

    def test_a_new_one_after_the_daemon_came_back(self, place: Path, line: Line, session: Session) -> None:
        session.values = values("--socket", str(place / "s"))
        assert line("list").status == 3
        for _ in range(2):
            with ControlDaemon(str(place / "s"), lambda request, send: page(samples.share())):
                assert line("list").status == 0
            assert session._client is not None
            assert session._client._link is not None
            assert session._client._link.ended()
        assert line("list").status == 3

    def test_what_was_given_up_is_never_taken_for_an_answer(self, daemon: Daemon, line: Line) -> None:
        daemon.on["wait"] = lambda request, send: None
        daemon.on["ping"] = {"version": "1", "uptime_s": 0.0, "pid": 7}
        assert line("wait", "t-1", "--timeout", "0.1").status == 6
        assert line("ping").status == 0

    def test_the_time_begins_anew_for_each_line(self, daemon: Daemon, line: Line, session: Session) -> None:
        daemon.on["wait"] = lambda request, send: None
        daemon.on["list"] = page()
        session.values = values("--timeout", "0.3")
        for _ in range(2):
            assert line("wait", "t-1").status == 6
            assert line("list").status == 0


class TestOptions:
    def test_they_hold_for_each_line(self, daemon: Daemon, line: Line, session: Session) -> None:
        daemon.on["list"] = page(samples.share())
        session.values = values("--json")
        assert line("list").document["items"][0]["id"] == samples.ID
        assert line("bogus").error["code"] == "usage"
        assert line("list", "-q").out == samples.ID + "\n"
        assert line("list", "--tsv", "--columns", "name").out == "example.txt\n"

    def test_the_place_of_a_line_comes_first(self, daemon: Daemon, line: Line, session: Session) -> None:
        session.values = values("--socket", "/nowhere")
        daemon.on["list"] = page()
        assert line("list").status == 3
        assert line("list", "--socket", daemon.server.path).status == 0


class TestNumbers:
    @pytest.fixture(autouse=True)
    def plan(self, daemon: Daemon) -> None:
        daemon.on["search"] = page(samples.hit(), samples.hit(id=samples.OTHER, name="b.txt"))
        daemon.on["info"] = lambda request, send: samples.hit(peers=[])
        daemon.on["peers"] = page(samples.peer())

    def test_one_of_the_last_search(self, daemon: Daemon, line: Line) -> None:
        shown = line("search", "x").out.splitlines()
        assert [row.split()[0] for row in shown] == ["#", "#1", "#2"]
        assert line("info", "#2", "#1").status == 0
        assert [asked["ref"] for asked in daemon.params("info")] == [samples.OTHER, samples.ID]
        assert line("peers", "#2").status == 0
        assert daemon.params("peers")[-1]["ref"] == samples.OTHER

    def test_the_next_search_begins_anew(self, daemon: Daemon, line: Line) -> None:
        line("search", "x")
        daemon.on["search"] = page()
        line("search", "y")
        got = line("info", "#1")
        assert (got.status, got.out) == (2, "")
        assert "there is no #1: the last search found nothing" in got.err

    @pytest.mark.parametrize(("ref", "said"), [("#3", "found 2 files"), ("#0", "found 2 files")])
    def test_beyond_what_was_found(self, line: Line, ref: str, said: str) -> None:
        line("search", "x")
        got = line("info", ref)
        assert got.status == 2
        assert said in got.err

    def test_before_any_search(self, line: Line) -> None:
        got = line("info", "#1")
        assert got.status == 2
        assert "there is no #1 yet" in got.err
        assert "search TEXT" in got.err

    def test_only_where_a_reference_stands(self, daemon: Daemon, line: Line) -> None:
        line("search", "#1")
        assert daemon.params("search")[0]["text"] == "#1"

    def test_none_without_being_asked_for(self, daemon: Daemon, line: Line, session: Session) -> None:
        session.numbered = False
        assert line("search", "x").out.startswith("ID ")
        line("info", "#1")
        assert daemon.params("info")[0]["ref"] == "#1"


def test_a_signal_is_a_status(daemon: Daemon, line: Line) -> None:
    def interrupt(request: Any, send: Any) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    daemon.on["download"] = samples.begun(transfer="t-118")
    daemon.on["wait"] = interrupt
    got = line("download", "x")
    assert got.status == 130
    assert "t-118 goes on" in got.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  # a comment", []),
        ("#!/usr/bin/p2pctl", []),
        ("add 'two words' a\\ b", ["add", "two words", "a b"]),
        ("info #3", ["info", "#3"]),
        ("#3", ["#3"]),
        ("p2pctl list -v", ["list", "-v"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_a_quotation_without_end() -> None:
    with pytest.raises(Fault) as caught:
        words_of("add 'two words")
    assert caught.value.code == "usage"


def test_paths_as_sh_would_see_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("b.txt", "a.txt", "[x].txt"):
        (tmp_path / name).touch()
    assert expand("?.txt") == ["a.txt", "b.txt"]
    assert expand("[x].txt") == ["[x].txt"]
    assert expand("*.none") == ["*.none"]
    assert expand("~/b.txt") == [str(tmp_path / "b.txt")]


def test_paths_of_a_line(
    daemon: Daemon, line: Line, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").touch()
    daemon.on["add"] = samples.share()
    line("add", "*.txt")
    session._expands = True
    line("add", "*.txt")
    assert [asked["path"] for asked in daemon.params("add")] == [f"{tmp_path}/*.txt", f"{tmp_path}/a.txt"]
