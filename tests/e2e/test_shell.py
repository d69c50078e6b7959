"""The shell on a real terminal, with real daemons: what a user of the first program typed and saw, and what a terminal user expects."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until
from tests.fakes.screens import Pty
from tests.fakes.terminal import CTRL_C, CTRL_D, TAB, UP, Terminal

PROMPT = "P2P>"


@pytest.fixture
def pair(swarm: Swarm) -> tuple[Daemon, Daemon]:
    """Two peers of a swarm, connected."""
    first = swarm.make("one", "peer", "--with-tracker").start()
    second = swarm.peer("two", first)
    return first.connected(), second.connected()


@contextmanager
def shell(daemon: Daemon, cwd: Path, *words: str, **environ: str) -> Iterator[Terminal]:
    """`p2pctl` on a terminal, at its first prompt."""
    program = [sys.executable, "-m", "p2pctl", "--home", str(daemon.home), *words]
    with Terminal(program, {**daemon.environ, **environ}, cwd) as terminal:
        terminal.expect(PROMPT)
        yield terminal


def test_the_whole_transcript(swarm: Swarm, pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    here, there = swarm.folder("here"), swarm.folder("there")
    make_file(here / "example.txt", 1024)
    with shell(one, here) as sharer, shell(two, there) as fetcher:
        assert "Type help for the commands" in sharer.seen
        sharer.line("help")
        assert "leave the shell" in sharer.expect(PROMPT)
        sharer.line("add example.txt")
        sharer.expect("Added example.txt to shared files\n")
        sharer.line("list")
        sharer.expect("example.txt - Size: 1024 bytes\n")
        fetcher.line("search example.txt")
        fetcher.expect(f"{one.address}  example.txt\n")
        fetcher.line("peers")
        fetcher.expect(one.address)
        fetcher.line("download example.txt")
        fetcher.expect(f"Downloaded example.txt from {one.address}")
        fetcher.expect(PROMPT)
        assert sha256(there / "downloaded_example.txt") == sha256(here / "example.txt")
        # a finished download is shared by its downloader
        until(lambda: two.call("list")["items"], 20, "the download is shared")
        fetcher.line("list")
        fetcher.expect("example.txt - Size: 1024 bytes\n")
        fetcher.expect(PROMPT)
        sharer.line("all_files")
        sharer.expect("#1  ")
        sharer.expect("example.txt")
        # what fails says so and the shell goes on
        fetcher.line("download nothing.txt")
        fetcher.expect("nobody shares 'nothing.txt'")
        fetcher.line("serch x")
        fetcher.expect("did you mean: p2pctl search")
        fetcher.line("add 'x")
        fetcher.expect("no closing quotation")
        fetcher.expect(PROMPT)
        for terminal in (sharer, fetcher):
            terminal.line("quit")
            assert terminal.end() == 0
    assert one.status()["pid"] == one.pid
    assert two.status()["pid"] == two.pid


def test_ctrl_c_stops_the_wait_and_not_the_download(swarm: Swarm, pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    there = swarm.folder("there")
    made = make_file(swarm.folder("here") / "two words.bin", 3_000_000)
    one.ok("add", made)
    with shell(two, there) as terminal:
        terminal.line("search words")
        terminal.expect("#1  ")
        terminal.expect(PROMPT)
        terminal.line("download #1 --limit 1M")
        terminal.expect("1 source", passing=False)
        terminal.type(CTRL_C)
        terminal.expect("stopped waiting; t-1 goes on")
        terminal.expect("wait again with: p2pctl wait t-1")
        terminal.expect(PROMPT)
        # what was typed is dropped, at an empty line nothing happens
        terminal.type("download nonsense")
        terminal.expect("download nonsense")
        terminal.type(CTRL_C)
        terminal.expect(PROMPT)
        terminal.type(CTRL_C)
        terminal.expect(PROMPT)
        terminal.type("wai" + TAB)
        terminal.expect(" wait", passing=False)
        terminal.type(TAB)
        terminal.expect(" wait t-1")
        terminal.line("")
        terminal.expect("Downloaded two words.bin")
        terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        assert terminal.end() == 0
    assert sha256(there / "downloaded_two words.bin") == sha256(made)


def test_tab_and_history_over_runs(swarm: Swarm, pair: tuple[Daemon, Daemon]) -> None:
    one, _ = pair
    here = swarm.folder("here")
    make_file(here / "a name.txt", 10)
    with shell(one, here) as terminal:
        terminal.type("add a" + TAB)
        terminal.expect("add 'a name.txt'")
        terminal.line("")
        terminal.expect("Added a name.txt")
        terminal.expect(PROMPT)
        terminal.type("info --json a" + TAB)
        terminal.expect("info --json 'a name.txt'\n", passing=False)
        terminal.line("")
        terminal.expect('"schema":"p2p.info/1"')
        terminal.expect(PROMPT)
        terminal.line("exit")
        assert terminal.end() == 0
    kept = Path(one.environ["XDG_STATE_HOME"]) / "p2pd" / "shell_history"
    assert kept.stat().st_mode & 0o777 == 0o600
    with shell(one, here) as terminal:
        for expected in ("exit", "info --json 'a name.txt'"):
            terminal.type(UP)
            terminal.expect(f" {expected}\n", passing=False)
        terminal.type(CTRL_C + CTRL_D)
        assert terminal.end() == 0


def test_a_daemon_that_is_not_there_and_comes(swarm: Swarm) -> None:
    daemon = swarm.make("one", "peer", "--with-tracker")
    here = swarm.folder("here")
    with shell(daemon, here) as terminal:
        assert "p2pd is not running" in terminal.seen
        assert "start it with" in terminal.seen
        terminal.line("list")
        terminal.expect("p2pd is not running")
        terminal.expect(PROMPT)
        for _ in range(2):
            daemon.start()
            terminal.line("list")
            terminal.expect("no files are shared")
            terminal.expect(PROMPT)
            daemon.end()
        terminal.line("list")
        terminal.expect("p2pd is not running")
        terminal.expect(PROMPT)
        terminal.process.terminate()
        assert terminal.end() == 143
        assert terminal.restored


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
def test_simple_terminals(swarm: Swarm, environ: dict[str, str]) -> None:
    daemon = swarm.make("one", "peer", "--with-tracker").start()
    with shell(daemon, swarm.folder("here"), **environ) as terminal:
        terminal.line("search nothing")
        terminal.expect("no file matches")
        terminal.expect(PROMPT)
        terminal.type(CTRL_C)
        terminal.expect(PROMPT)
        if environ["TERM"] == "dumb":
            terminal.line("clear")
            terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        assert terminal.end() == 0
    assert b"\x1b[3" not in terminal.raw
    assert (b"\x1b" in terminal.raw) == (environ["TERM"] != "dumb")


def test_lines_from_a_pipe(swarm: Swarm, pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    one.ok("add", make_file(swarm.folder("here") / "report.txt", 100))
    there = swarm.folder("there")
    lines = "# get it\nsearch report\n\ndownload #1 -q\ninfo nothing\nlist\nquit\nlist\n"
    done = two.ctl("shell", cwd=there, input=lines)
    assert done.status == 4
    assert f"{there}/downloaded_report.txt\n" in done.out
    assert "nothing" in done.err
    assert PROMPT not in done.out
    assert done.out.count("report.txt - Size") <= 1


def test_help_and_clear_on_a_narrow_terminal(swarm: Swarm) -> None:
    daemon = swarm.make("one", "peer", "--with-tracker")
    argv = [sys.executable, "-m", "p2pctl", "--home", str(daemon.home)]
    terminal = Pty(argv, {"TERM": "xterm", **daemon.environ}, 72, 90)
    try:
        terminal.until(lambda rows: rows and rows[-1] == PROMPT)
        terminal.type(b"help\r")
        rows = terminal.until(lambda rows: f"{PROMPT} help" in rows and rows[-1] == PROMPT)
        last = rows.index("#3 is the third file of the last search: download #3. Names with blanks")
        assert rows[last + 1] == "are quoted: download 'two words'."
        terminal.type(b"clear\r")
        terminal.until(lambda rows: rows == [PROMPT])
        terminal.type(CTRL_D.encode())
        assert terminal.end()[0] == 0
    finally:
        terminal.close()
