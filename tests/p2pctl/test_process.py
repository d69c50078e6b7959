"""Real p2pctl processes: signals, pipes, terminals, a daemon that comes and goes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.control_daemon import ControlDaemon
from tests.fakes.screens import drawn
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Start
from tests.p2pctl.samples import page

SECONDS = 30


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, (out or b"").decode(), (err or b"").decode()


@pytest.fixture
def endless(daemon: Daemon) -> Daemon:
    """Downloads begin and are never done."""
    daemon.on["download"] = samples.begun(transfer="t-118")
    daemon.on["wait"] = lambda request, send: None
    daemon.on["add"] = lambda request, send: None
    return daemon


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
class TestSignals:
    def test_the_download_goes_on(self, endless: Daemon, start: Start, number: int, status: int) -> None:
        process = start("download", "x")
        endless.server.wait_for("wait")
        process.send_signal(number)
        assert finish(process) == (
            status,
            "",
            "p2pctl: stopped waiting; t-118 goes on\n  hint: wait again with: p2pctl wait t-118\n",
        )

    def test_a_paused_one_does_not(self, daemon: Daemon, start: Start, number: int, status: int) -> None:
        daemon.on["wait"] = lambda request, send: send({"transfer": "t-1", "name": "a", "state": "paused"})
        process = start("wait", "t-1")
        assert process.stderr is not None
        hint = b"p2pctl resume t-1 lets it go on\n"
        assert process.stderr.readline() == b"t-1 is paused: " + hint
        process.send_signal(number)
        assert finish(process) == (
            status,
            "",
            f"p2pctl: stopped waiting; t-1 is paused\n  hint: {hint.decode()}",
        )

    def test_for_machines(self, endless: Daemon, start: Start, number: int, status: int) -> None:
        process = start("--json", "wait", "t-1", "t-2")
        endless.server.wait_for("wait")
        process.send_signal(number)
        code, out, err = finish(process)
        assert (code, out) == (status, "")
        assert json.loads(err) == {
            "schema": "p2p.error/1",
            "code": "interrupted",
            "exit": status,
            "message": "stopped waiting; t-1 t-2 go on",
            "hint": "wait again with: p2pctl wait t-1 t-2",
        }

    @pytest.mark.parametrize(
        ("shape", "says"), [("--json", "t-0 t-1 t-2 t-3 t-4 t-5 t-6 t-7 t-8"), ("-v", "9 downloads")]
    )
    def test_many_are_counted_for_people(
        self, endless: Daemon, start: Start, number: int, status: int, shape: str, says: str
    ) -> None:
        process = start(shape, "wait", *(f"t-{number}" for number in range(9)))
        endless.server.wait_for("wait")
        process.send_signal(number)
        code, out, err = finish(process)
        assert (code, out) == (status, "")
        assert f"stopped waiting; {says} go on" in err

    def test_hashing_goes_on(self, endless: Daemon, start: Start, number: int, status: int) -> None:
        process = start("add", "/d/a")
        endless.server.wait_for("add")
        process.send_signal(number)
        code, out, err = finish(process)
        assert (code, out) == (status, "")
        assert err.startswith("p2pctl: stopped waiting; hashing and publishing go on\n")


def test_a_timeout(endless: Daemon, start: Start) -> None:
    """It may pass before the download has begun, when the machine is slow: with a longer one it passes while that is waited for."""
    for seconds in ("0.2", "1", "5", "20"):
        code, out, err = finish(start("-q", "download", "x", "--timeout", seconds))
        assert (code, out) == (6, "")
        if endless.params("wait"):
            break
    assert "t-118 goes on" in err


def test_a_daemon_that_dies_while_a_client_waits(endless: Daemon, start: Start, place: Path) -> None:
    """Its connection ends: no answer can come any more, and the client does not wait for one."""
    path = str(place / "other.sock")
    other = ControlDaemon(path, lambda request, send: None)
    with other:
        process = start("--socket", path, "wait", "t-1")
        other.wait_for("wait")
    code, out, err = finish(process)
    assert (code, out) == (3, "")
    assert "went away before it answered; t-1 goes on when p2pd starts again" in err


def test_a_stale_socket(place: Path, start: Start) -> None:
    path = place / "control.sock"
    script = f"import socket; socket.socket(socket.AF_UNIX).bind({str(path)!r})"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert path.exists()
    code, out, err = finish(start("--home", str(place), "--json", "status"))
    assert (code, out) == (3, "")
    assert json.loads(err)["details"] == {"tried": [str(path)]}


def test_ping_waits_for_the_daemon(place: Path, start: Start) -> None:
    """The process looks in vain first: it is started when there is no socket."""
    process = start("--home", str(place), "ping", "--wait-daemon", str(SECONDS))
    with ControlDaemon(
        str(place / "control.sock"), lambda request, send: {"version": "1", "uptime_s": 0.0, "pid": 7}
    ):
        assert finish(process) == (0, "p2pd 1 answers (pid 7, up 0.0 s)\n", "")


def test_shutdown_waits_until_the_place_is_free(place: Path, start: Start) -> None:
    daemon = ControlDaemon(str(place / "control.sock"), lambda request, send: {"pid": 7, "stopping": True})
    with daemon:
        process = start("--home", str(place), "shutdown")
        daemon.wait_for("shutdown")
        assert process.poll() is None
    assert finish(process) == (0, "p2pd (pid 7) has stopped\n", "")


def test_shutdown_of_a_daemon_that_stays(daemon: Daemon, start: Start) -> None:
    daemon.on["shutdown"] = {"pid": 7, "stopping": True}
    code, out, err = finish(start("shutdown", "--timeout", "1"))
    assert (code, out) == (6, "")
    assert "has not stopped after 1 s" in err


class TestStdout:
    @pytest.fixture(autouse=True)
    def many(self, daemon: Daemon) -> None:
        """More than a pipe holds."""

        def answer(request: Any, send: Any) -> dict[str, Any]:
            here = int(request.params["cursor"] or 0)
            return page(*[samples.hit()] * 500, next=str(here + 1) if here < 20 else None)

        daemon.on["all_files"] = answer

    @pytest.mark.parametrize("shape", ["--json", "--jsonl", "--tsv", "-q", "-v"])
    def test_a_reader_that_goes_away(self, start: Start, shape: str) -> None:
        process = start("all_files", shape)
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        assert (process.wait(SECONDS), err) == (141, b"")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    @pytest.mark.parametrize("shape", ["--json", "-q"])
    def test_a_full_disk(self, start: Start, shape: str) -> None:
        with open("/dev/full", "wb") as full:
            code, _, err = finish(start("all_files", shape, stdout=full))
        assert code == 10
        assert "No space left" in err
        assert "Errno" not in err
        assert "Traceback" not in err

    def test_closed_streams(self, daemon: Daemon) -> None:
        daemon.on["ping"] = {"version": "1", "uptime_s": 0.0, "pid": 7}
        p2pctl = f"{sys.executable} -m p2pctl"
        script = f"{p2pctl} ping >&-; echo $?; {p2pctl} ping >&- 2>&-; echo $?; {p2pctl} bogus 2>&-; echo $?"
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, env=environ, timeout=SECONDS, check=True
        )
        assert done.stdout == b"10\n10\n2\n"
        assert done.stderr == b"p2pctl: input or output failed: Bad file descriptor\n"

    def test_any_locale(self, daemon: Daemon, start: Start) -> None:
        daemon.on["list"] = page(samples.share(name="größe.txt"))
        for env in ({"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}):
            code, out, _ = finish(start("--json", "list", env=env))
            assert (code, json.loads(out)["items"][0]["name"]) == (0, "größe.txt")
        code, out, _ = finish(start("list", env={"PYTHONIOENCODING": "ascii"}))
        assert (code, out) == (0, "gr\\xf6\\xdfe.txt - Size: 1024 bytes\n")


def on_terminal(start: Start, *argv: str, **env: str) -> tuple[int, bytes, str]:
    """Run with stderr on a terminal; (status, stdout, what the terminal got)."""
    ours, theirs = pty.openpty()
    process = start(*argv, stderr=theirs, env={"TERM": "xterm", "COLUMNS": "100", **env})
    os.close(theirs)
    seen = drawn(ours).decode()
    os.close(ours)
    assert process.stdout is not None
    return process.wait(SECONDS), process.stdout.read(), seen


class TestTerminal:
    @pytest.fixture(autouse=True)
    def plan(self, daemon: Daemon) -> None:
        def wait(request: Any, send: Any) -> dict[str, Any]:
            event = {
                "transfer": "t-1",
                "state": "downloading",
                "received_bytes": 512,
                "size_bytes": 1024,
                "sources": 2,
            }
            until = time.monotonic() + 1.0  # nothing is drawn for what is over at once
            while time.monotonic() < until:
                send(event)
                threading.Event().wait(0.05)
            return samples.transfer()

        daemon.on["download"] = samples.begun()
        daemon.on["wait"] = wait

    def test_a_bar_on_stderr_only(self, start: Start) -> None:
        code, out, drawn = on_terminal(start, "download", "x")
        assert (code, out) == (0, b"/home/ana/downloaded_example.txt\n")
        assert "example.txt  " in drawn
        assert "50%" in drawn
        assert drawn.endswith("verified)\r\n")

    def test_no_colour_when_not_wanted(self, start: Start) -> None:
        for argv, env in ((["--no-color"], {}), ([], {"NO_COLOR": "1"})):
            _, _, drawn = on_terminal(start, *argv, "download", "x", **env)
            assert "50%" in drawn
            assert "\x1b[3" not in drawn

    @pytest.mark.parametrize(
        ("argv", "env"), [(["--progress", "off"], {}), (["-q"], {}), ([], {"TERM": "dumb"})]
    )
    def test_nothing_drawn(self, start: Start, argv: list[str], env: dict[str, str]) -> None:
        code, _, drawn = on_terminal(start, *argv, "download", "x", **env)
        assert code == 0
        assert "\x1b" not in drawn
        assert ("50%" in drawn) == ("TERM" in env)
