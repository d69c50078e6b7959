"""A fake daemon at a short path, and p2pctl run in this process or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pctl.cli import main
from protocol.control import Request
from tests.fakes.control_daemon import ControlDaemon, Send

ROOT = Path(__file__).resolve().parents[2]


class Daemon:
    """The fake daemon of a test. `on[method]` is a result, a Fault to raise, or `function(request, send)`."""

    def __init__(self, path: str) -> None:
        self.on: dict[str, Any] = {}
        self.server = ControlDaemon(path, self._answer)

    def _answer(self, request: Request, send: Send) -> dict[str, Any] | None:
        planned = self.on[request.method]
        if isinstance(planned, Exception):
            raise planned
        result: dict[str, Any] | None = planned(request, send) if callable(planned) else planned
        return result

    def params(self, method: str) -> list[dict[str, Any]]:
        """The parameters of each request of `method`."""
        return [request.params for request in self.server.requests if request.method == method]


class Outcome:
    """How a run ended."""

    def __init__(self, status: int, out: bytes, err: bytes) -> None:
        self.status = status
        self.raw = out
        self.out = out.decode("utf-8", "surrogateescape")
        self.err = err.decode()

    @property
    def document(self) -> dict[str, Any]:
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def error(self) -> dict[str, Any]:
        """The only line on stderr."""
        assert self.err.count("\n") == 1, self.err
        error: dict[str, Any] = json.loads(self.err)
        return error


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new directory with a short path; no variable of the caller's environment leaks into the run."""
    for name in (
        "P2PCTL_SOCKET",
        "P2PD_SOCKET",
        "P2PD_HOME",
        "XDG_RUNTIME_DIR",
        "P2PCTL_TIMEOUT",
        "NO_COLOR",
    ):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory(prefix="p2p") as directory:
        monkeypatch.setenv("HOME", directory)
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        yield Path(directory)


@pytest.fixture
def daemon(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon that p2pctl finds by P2PCTL_SOCKET."""
    path = str(place / "control.sock")
    monkeypatch.setenv("P2PCTL_SOCKET", path)
    fake = Daemon(path)
    with fake.server:
        yield fake


Run = Callable[..., Outcome]


@pytest.fixture
def p2pctl(place: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run a command line in this process."""

    def run(*argv: str) -> Outcome:
        capsysbinary.readouterr()
        status = main(argv)
        captured = capsysbinary.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Start a real p2pctl process; what still runs at the end is killed."""
    processes: list[subprocess.Popen[bytes]] = []

    def run(*argv: str, **options: Any) -> subprocess.Popen[bytes]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
        process = subprocess.Popen([sys.executable, "-m", "p2pctl", *argv], env=environ, **options)
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
