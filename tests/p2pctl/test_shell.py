"""The shell without a terminal: lines in, and it goes on whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest

from p2pctl import args, offering, shell
from p2pctl.cli import summaries
from p2pctl.invocation import Invocation
from protocol.errors import Fault
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Outcome, Run, Start
from tests.p2pctl.samples import page


def interrupt(request: Any, send: Any) -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


Say = Callable[..., Outcome]
STATUS = {**samples.STATUS}


@pytest.fixture
def lines(daemon: Daemon, capsysbinary: pytest.CaptureFixture[bytes]) -> Say:
    """Run a shell over these lines; a KeyboardInterrupt among them is Ctrl-C at the prompt."""

    def run(
        *texts: str | type[BaseException], interactive: bool = False, options: tuple[str, ...] = ()
    ) -> Outcome:
        left = list(texts)

        def read() -> str:
            text = left.pop(0) if left else EOFError
            if isinstance(text, str):
                return text
            raise text

        values = args.parse(args.parser("shell", "shell", ""), options)
        invocation = Invocation("shell", values, dict(os.environ), 0.0)
        status = shell.Shell(invocation, read, interactive).run()
        captured = capsysbinary.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


class TestLines:
    def test_the_status_is_that_of_the_last_that_failed(self, daemon: Daemon, lines: Say) -> None:
        daemon.on["list"] = page(samples.share())
        daemon.on["info"] = Fault("not_found", "no such file")
        got = lines("info x", "bogus 'x", "info x", "list", "# list", "")
        assert got.status == 4
        assert got.out == "example.txt - Size: 1024 bytes\n"
        assert "no closing quotation" in got.err
        assert lines("list").status == 0
        assert lines().status == 0

    def test_quit_ends(self, daemon: Daemon, lines: Say) -> None:
        daemon.on["list"] = page(samples.share())
        for word in ("quit", "exit"):
            assert lines(word, "list").out == ""
        assert lines("bogus", "quit").status == 2

    def test_options_hold_for_all(self, daemon: Daemon, lines: Say) -> None:
        daemon.on["list"] = page(samples.share())
        got = lines("list", "list", options=("-q",))
        assert got.out == f"{samples.ID}\n" * 2
        assert lines("add 'x", options=("--json",)).error["code"] == "usage"

    def test_no_shell_in_a_shell(self, lines: Say) -> None:
        got = lines("shell")
        assert got.status == 2
        assert "a shell already" in got.err

    def test_a_signal_ends_it(self, daemon: Daemon, lines: Say) -> None:
        assert lines(KeyboardInterrupt, "list").status == 130

    def test_an_answer_that_makes_no_sense(self, daemon: Daemon, lines: Say) -> None:
        daemon.on["ping"] = {"version": "1"}
        daemon.on["list"] = page(samples.share())
        got = lines("ping", "list")
        assert "KeyError" in got.err
        assert got.out != ""


class TestInteractive:
    @pytest.fixture(autouse=True)
    def plan(self, daemon: Daemon) -> None:
        daemon.on["status"] = STATUS
        daemon.on["ping"] = {"version": "1", "uptime_s": 0.0, "pid": 7}
        daemon.on["list"] = page(samples.share())

    def test_the_greeting(self, daemon: Daemon, lines: Say) -> None:
        told = lines(interactive=True).err
        assert "Type help" in told
        assert "Peer at 192.168.1.100:8001" in told
        assert "Tracker hub:9000: connected." in told
        assert "Tracker old:9000: the password differs." in told
        assert lines(interactive=True, options=("-q",)).err == ""
        daemon.on["status"] = {**STATUS, "peer": None, "trackers": []}
        assert "only a tracker" in lines(interactive=True).err

    def test_no_daemon(self, lines: Say) -> None:
        got = lines("list", interactive=True, options=("--socket", "/nowhere"))
        assert got.status == 0
        assert got.err.count("p2pd is not running") == 2

    def test_ctrl_c_clears_the_line(self, lines: Say) -> None:
        got = lines(KeyboardInterrupt, "list", interactive=True)
        assert (got.status, got.out) == (0, "example.txt - Size: 1024 bytes\n")

    def test_what_fails_does_not_end_it(self, lines: Say) -> None:
        got = lines("bogus", "'", "list", "quit", "list", interactive=True)
        assert (got.status, got.out) == (0, "example.txt - Size: 1024 bytes\n")

    def test_several_lines_that_are_pasted(self, daemon: Daemon, lines: Say) -> None:
        got = lines("list\n\nbogus\nlist", "quit", interactive=True)
        assert got.out == "example.txt - Size: 1024 bytes\n" * 2
        daemon.on["list"] = interrupt
        got = lines("list\nlist\nlist", "ping", interactive=True)
        assert len(daemon.params("list")) == 3
        assert len(daemon.params("ping")) == 1

    def test_tab_never_fails(self, monkeypatch: pytest.MonkeyPatch, daemon: Daemon) -> None:
        values = args.parse(args.parser("shell", "shell", ""), [])
        made = shell.Shell(Invocation("shell", values, dict(os.environ), 0.0), shell.piped, True)
        assert [offer.text for offer in made.complete("pin")[1]] == ["ping"]
        daemon.on["complete"] = {"items": [{"value": 5}]}
        assert made.complete("download x") == (9, [])
        monkeypatch.setattr(offering, "complete", lambda *args: 1 / 0)
        assert made.complete("download x") == (10, [])

    def test_help(self, lines: Say) -> None:
        got = lines("help", "help quit", interactive=True)
        for command in summaries().keys() - {"shell"}:
            assert f" {command:<10} " in got.out
        assert "leave the shell" in got.out

    @pytest.mark.parametrize("columns", [45, 80, 100, 200])
    def test_help_breaks_between_words(self, columns: int) -> None:
        written = shell.overview(columns)
        assert max(map(len, written.splitlines())) < columns
        assert written.split() == shell.overview(1000).split()
        assert written.endswith("\n")

    def test_nothing_is_cleared_that_is_no_terminal(self, lines: Say) -> None:
        got = lines("clear")
        assert (got.status, got.out, got.err) == (0, "", "")


class TestSearch:
    """What search and peers show in the shell."""

    @pytest.fixture(autouse=True)
    def plan(self, daemon: Daemon) -> None:
        daemon.on["search"] = page(samples.hit(), samples.hit(id=samples.OTHER, name="b.txt"))
        daemon.on["peers"] = self.peers

    @staticmethod
    def peers(request: Any, send: Any) -> dict[str, Any]:
        if request.params["ref"] == samples.OTHER:
            raise Fault("not_found", "nobody has it")
        more = [samples.peer(device_id=str(number) * 32, port=number) for number in range(1, 4)]
        own = samples.peer(self=True, device_id="o" * 32)
        return page(own, *more) if request.params["ref"] else page(samples.peer())

    def test_the_peers_of_each(self, lines: Say) -> None:
        rows = lines("search x").out.splitlines()
        assert rows[0].split() == ["#", "ID", "SIZE", "SOURCES", "AGE", "PEERS", "NAME"]
        assert "  this device, 192.168.1.100:1 and 2 more  example.txt" in rows[1]
        assert "  -                                        b.txt" in rows[2]

    def test_not_unasked_for_many(self, daemon: Daemon, lines: Say) -> None:
        daemon.on["search"] = page(*[samples.hit()] * 21)
        assert "PEERS" not in lines("search x").out
        assert "PEERS" in lines("search x --peers").out

    def test_for_machines(self, p2pctl: Run) -> None:
        first, second = p2pctl("--json", "search", "x", "--peers").document["items"]
        assert [peer["port"] for peer in first["peers"]] == [8001, 1, 2, 3]
        assert second["peers"] == []
        assert "peers" not in p2pctl("--json", "search", "x").document["items"][0]

    def test_peers_are_those_of_the_last_search(self, daemon: Daemon, lines: Say) -> None:
        got = lines("peers", "search x", "peers -q", "peers --all -q")
        devices = ["o" * 32, "1" * 32, "2" * 32, "3" * 32]
        assert got.out.splitlines()[-5:] == [*devices, "d" * 32]
        assert daemon.params("peers")[0] == {"ref": None, "cursor": None, "limit": None}
        daemon.on["search"] = page()
        got = lines("search x", "peers")
        assert (got.status, got.out) == (0, "")
        assert "no peers are known" in got.err

    def test_peers_of_several_files(self, p2pctl: Run) -> None:
        got = p2pctl("-q", "peers", "a", "b", "--limit", "2")
        assert got.out.splitlines() == ["o" * 32, "1" * 32]
        got = p2pctl("--json", "peers", "a", samples.OTHER)
        assert got.status == 12
        assert got.document["failed"][0]["subject"] == samples.OTHER
        assert p2pctl("peers", "a", "--all").status == 2
        assert p2pctl("peers", "a", "b", "--cursor", "c").status == 2


class TestProcess:
    def test_lines_from_a_pipe(self, daemon: Daemon, start: Start) -> None:
        daemon.on["list"] = page(samples.share())
        process = start("shell", stdin=subprocess.PIPE)
        lines = "list --tsv --columns name\nlist --tsv --columns größe\n"
        out, err = process.communicate(lines.encode(), 30)
        assert out == b"example.txt\n"
        assert "größe" in err.decode()
        assert process.returncode == 2

    def test_columns_of_which_command(self, start: Start) -> None:
        for option in ("--columns=id", "--header"):
            process = start("shell", "--tsv", option, stdin=subprocess.PIPE)
            _, err = process.communicate(b"list\n", 30)
            assert process.returncode == 2
            assert b"has no columns" in err or b"is for one command" in err

    def test_nobody_reads(self, daemon: Daemon, start: Start) -> None:
        daemon.on["list"] = page(*[samples.share()] * 1000)
        ours, theirs = os.pipe()
        os.close(ours)
        process = start("shell", stdin=subprocess.PIPE, stdout=theirs)
        os.close(theirs)
        _, err = process.communicate(b"list\n" * 5, 30)
        assert (process.returncode, err) == (141, b"")

    def test_without_a_terminal_there_is_no_shell_unasked(self, start: Start) -> None:
        process = start(stdin=subprocess.PIPE)
        out, err = process.communicate(b"list\n", 30)
        assert (process.returncode, out) == (2, b"")
        assert err.startswith(b"usage: p2pctl")
