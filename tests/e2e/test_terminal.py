"""What a person sees: real downloads on a terminal, at several sizes, resized and interrupted."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.fakes.processes import Daemon, Swarm, make_file
from tests.fakes.screens import Pty

NAME = "[red]x[]日本.bin"


@pytest.fixture
def bob(swarm: Swarm) -> Daemon:
    """A peer that fetches slowly; alice shares NAME and b.bin."""
    alice = swarm.make("alice", "peer", "--with-tracker", "--limit-up", "600K").start().connected()
    for number, name in enumerate((NAME, "b.bin")):
        alice.ok("add", make_file(swarm.directory / name, 2_000_000, number))
    tracker = f"127.0.0.1:{alice.ports['Tracker']}"
    return swarm.make("bob", "peer", "--tracker", tracker).start().connected()


@pytest.fixture
def pty(bob: Daemon) -> Iterator[list[Pty]]:
    """Terminals of the test; all are closed."""
    opened: list[Pty] = []
    yield opened
    for one in opened:
        one.close()


def run(bob: Daemon, opened: list[Pty], columns: int, lines: int, *words: str) -> Pty:
    """p2pctl on a terminal, after a line that must stay."""
    environ = {name: value for name, value in bob.environ.items() if name != "NO_COLOR"}
    argv = ["sh", "-c", 'echo before; exec "$@"', "sh"]
    argv += [sys.executable, "-m", "p2pctl", "--home", str(bob.home), *words]
    opened.append(Pty(argv, {**environ, "TERM": "linux"}, columns, lines))
    return opened[-1]


def test_bars_of_a_download_that_is_resized_and_interrupted(
    bob: Daemon, pty: list[Pty], swarm: Swarm
) -> None:
    target = str(swarm.folder("target")) + "/"
    wide = run(bob, pty, 120, 12, "download", NAME, "b.bin", "-o", target)
    rows = wide.until(lambda rows: len(rows) == 4 and " of 1.9 MiB" in rows[1] and "KiB/s" in rows[3])
    assert rows[0] == "before"
    assert rows[1].startswith(NAME + "  ")
    assert rows[2].startswith("b.bin  ")
    assert rows[3].startswith("0 of 2 done  ")
    wide.resize(40, 12)
    wide.until(lambda rows: len(rows) == 4 and all(len(row) <= 37 for row in rows) and "/s" in rows[3])
    wide.type(b"\x03")
    status, rows = wide.end()
    assert status == 130
    assert rows[0] == "before"
    # which of the two was looked up first is theirs
    assert rows[1].startswith(
        tuple(f"p2pctl: stopped waiting; {both} go on" for both in ("t-1 t-2", "t-2 t-1"))
    )
    assert not any("%" in row for row in rows)
    assert not wide.screen.cursor.hidden

    again = run(bob, pty, 80, 12, "wait", "t-1", "t-2")
    status, rows = again.end()
    assert status == 0
    assert (rows[0], rows[1][:20]) == ("before", f"{target}downloaded_"[:20])
    assert not any("%" in row for row in rows)
    assert sum(row.startswith("Downloaded ") for row in rows) == 2


def test_watching_and_tables(bob: Daemon, pty: list[Pty]) -> None:
    bob.begin("b.bin", bob.where, limit_bytes_per_s=20_000)
    narrow = run(bob, pty, 40, 10, "transfers", "--watch")
    rows = narrow.until(lambda rows: len(rows) == 4 and "downloading" in rows[2])
    assert rows[1].split() == ["TRANSFER", "STATE", "DONE", "NAME"]
    narrow.type(b"\x03")
    status, rows = narrow.end()
    assert (status, rows[0], rows[1].split()[0]) == (130, "before", "TRANSFER")
    for columns, heads in ((36, ["ID", "SIZE", "NAME"]), (80, ["ID", "SIZE", "SOURCES", "AGE", "NAME"])):
        status, rows = run(bob, pty, columns, 10, "search", "red").end()
        assert status == 0
        assert (rows[0], rows[1].split()) == ("before", heads)
        assert rows[2].endswith(NAME)
        assert len(rows) == 3


def test_a_simple_terminal_gets_lines(bob: Daemon, pty: list[Pty], swarm: Swarm) -> None:
    argv = [sys.executable, "-m", "p2pctl", "--home", str(bob.home), "download", "b.bin", "-o", "/dev/null"]
    target = str(swarm.folder("target")) + "/"
    argv[-1] = target
    pty.append(Pty(argv, {**bob.environ, "TERM": "dumb"}, 80, 40))
    status, rows = pty[-1].end()
    assert status == 0
    assert rows[0].startswith("b.bin: ")
    assert sum("b.bin: downloading" in row for row in rows) >= 2
