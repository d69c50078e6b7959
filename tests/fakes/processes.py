"""Real daemons and clients for the end-to-end tests: started, watched, killed and always cleaned up.

The rule: every wait has a deadline, every process has its own home and free ports on loopback, and no daemon may have
left a traceback in its log. What a daemon logged is printed when its test is over, which pytest shows for a test that failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from p2pctl.client import Client
from tests.fakes.schemas import validate_run

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery staple"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
CTL_SECONDS = 60.0
PAUSE = 0.02  # between two looks at something that another process does
LOOPBACK = "127.0.0.1"
_LISTENING = re.compile(r"^(Tracker|Peer) listening on (\S+):(\d+)$")


def until(probe: Callable[[], T | None], seconds: float, what: str) -> T:
    """The first true answer of `probe`. Fails when there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(PAUSE)
    return answer


def make_file(path: Path, size: int, seed: int = 1) -> Path:
    """A file of `size` octets that look random and depend on the seed only."""
    rng = Random(seed)
    with path.open("wb") as stream:
        while size > 0:
            stream.write(rng.randbytes(min(size, 1 << 22)))
            size -= 1 << 22
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def environment(directory: Path) -> dict[str, str]:
    """An environment without the user's settings, with the packages of this checkout."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    private = {
        "HOME": directory,
        "XDG_STATE_HOME": directory / "state",
        "XDG_CONFIG_HOME": directory / "config",
    }
    return {
        **kept,
        **{name: str(path) for name, path in private.items()},
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "NO_COLOR": "1",
    }


def write_password(path: Path, password: str = PASSWORD) -> Path:
    """A password file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_text(password + "\n")
    return path


@dataclass(frozen=True)
class Result:
    """How one run of p2pctl ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on stdout."""
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items of that document."""
        items: list[dict[str, Any]] = self.document["items"]
        return items

    @property
    def error(self) -> dict[str, Any]:
        """The error document on stderr."""
        error: dict[str, Any] = json.loads(self.err.splitlines()[-1])
        assert error["schema"] == "p2p.error/1"
        return error


class Daemon:
    """One p2pd. `start` may be called again after its end: it comes back on the same ports and with the stored key."""

    def __init__(self, swarm: Swarm, name: str, role: str, options: Iterable[str]) -> None:
        self.name = name
        self.home = swarm.directory / name
        self.log = swarm.directory / f"{name}.log"
        self.ports: dict[str, int] = {}
        self.process: subprocess.Popen[str] | None = None
        self.environ = dict(swarm.environ)
        self.prefix: list[str] = []  # a program that starts it
        self.password = ["--password-file", str(swarm.password_file)]
        self.where = swarm.directory
        self._role = role
        self._options = list(options)

    # -- life ---------------------------------------------------------------------------------------------

    def launch(self, *more: str, **popen: Any) -> subprocess.Popen[str]:
        """Starts the process and does not wait for anything."""
        assert self.process is None or self.process.poll() is not None, f"{self.name} runs already"
        listen = []
        for role, option in (("Tracker", "--tracker-listen"), ("Peer", "--listen")):
            if role.lower() == self._role:
                listen += ["--listen", f"{LOOPBACK}:{self.ports.get(role, 0)}"]
            elif role == "Tracker" and "--with-tracker" in self._options:
                listen += [option, f"{LOOPBACK}:{self.ports.get(role, 0)}"]
        program = [*self.prefix, sys.executable, "-W", "default", "-mp2pd"]
        words = [self._role, "--home", str(self.home), *listen, *self._options, *self.password, *more]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                program + words,
                stdin=popen.pop("stdin", subprocess.DEVNULL),
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environ,
                cwd=self.where,
                text=True,
                **popen,
            )
        return self.process

    def start(self, *more: str, **popen: Any) -> Daemon:
        """Starts and waits until it listens and answers."""
        self.launch(*more, **popen)
        expected = {self._role.capitalize()} | ({"Tracker"} if "--with-tracker" in self._options else set())
        for line in self._lines(START_SECONDS):
            if match := _LISTENING.match(line):
                self.ports[match[1]] = int(match[3])
                if expected <= self.ports.keys() and match[1] == list(_order(expected))[-1]:
                    break
        else:
            raise AssertionError(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")
        self.password = []
        return self

    def _lines(self, seconds: float) -> Iterable[str]:
        """Lines of stdout as they come, until it ends or the time is over."""
        assert self.process is not None
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            rest = b""
            while selector.select(max(0.0, deadline - time.monotonic())):
                data = os.read(self.process.stdout.fileno(), 4096)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                yield from (line.decode() for line in lines)

    @property
    def pid(self) -> int:
        """The process id of the running daemon."""
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """kill -9."""
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM, seconds: float = STOP_SECONDS) -> int:
        """Sends a signal; the exit status (negative: killed by that signal)."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(seconds)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Waits for the end; the exit status."""
        assert self.process is not None
        status = self.process.wait(seconds)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def octets_read(self) -> int:
        """What it has read from files so far (not from sockets)."""
        text = Path(f"/proc/{self.pid}/io").read_text()
        return int(text.split()[1])

    def peak_memory(self) -> int:
        """VmHWM in octets: the most physical memory it ever used."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
        assert match is not None
        return int(match[1]) * 1024

    # -- talking to it ------------------------------------------------------------------------------------

    @property
    def socket(self) -> Path:
        """Its control socket."""
        return self.home / "control.sock"

    @property
    def address(self) -> str:
        """HOST:PORT of its own role."""
        return f"{LOOPBACK}:{self.ports[self._role.capitalize()]}"

    def ctl(
        self,
        *words: str | Path,
        cwd: Path | None = None,
        seconds: float = CTL_SECONDS,
        input: str | None = None,
    ) -> Result:
        """Runs p2pctl. What it prints as JSON must keep the published schemas."""
        done = subprocess.run(
            [sys.executable, "-m", "p2pctl", "--home", str(self.home), *map(str, words)],
            stdin=subprocess.DEVNULL if input is None else None,
            input=input,
            capture_output=True,
            env=self.environ,
            cwd=cwd or self.where,
            text=True,
            timeout=seconds,
            check=False,
        )
        validate_run(list(map(str, words)), done.returncode, done.stdout, done.stderr)
        return Result(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str | Path, cwd: Path | None = None) -> list[dict[str, Any]]:
        """The items of a `p2pctl --json` that must succeed."""
        result = self.ctl("--json", *words, cwd=cwd)
        assert result.status == 0, f"p2pctl {words}: {result.status}\n{result.out}{result.err}"
        return result.items

    def client(self, seconds: float = 20.0) -> Client:
        """A connection to its control socket, for many requests."""
        return Client([str(self.socket)], seconds)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One request on the control socket, without the cost of a process."""
        client = self.client()
        try:
            return client.call(method, params)
        finally:
            client.close()

    def status(self) -> dict[str, Any]:
        """What `p2pctl status` knows."""
        return self.call("status")

    def transfer(self, name: str) -> dict[str, Any]:
        """The transfer of this id."""
        for item in self.call("transfers")["items"]:
            if item["transfer"] == name:
                found: dict[str, Any] = item
                return found
        raise AssertionError(f"no transfer {name}")

    def share(self, path: Path) -> dict[str, Any]:
        """Its share of this path."""
        for item in self.call("list")["items"]:
            if item["path"] == str(path):
                found: dict[str, Any] = item
                return found
        raise AssertionError(f"{path} is not shared")

    def begin(self, ref: str, directory: Path, **more: Any) -> str:
        """Begins a download; its transfer id."""
        return str(self.call("download", ref=ref, directory=str(directory), **more)["transfer"])

    def finish(self, transfer: str, seconds: float = 60.0) -> dict[str, Any]:
        """Waits until a transfer is done."""
        done = ("done", "failed", "cancelled")
        until(lambda: self.transfer(transfer)["state"] in done, seconds, f"{transfer} of {self.name} is over")
        item = self.transfer(transfer)
        assert item["state"] == "done", item
        return item

    def received(self, transfer: str, octets: int, seconds: float = 30.0) -> dict[str, Any]:
        """Waits until a transfer has that many octets verified."""
        return until(
            lambda: item if (item := self.transfer(transfer))["received_bytes"] >= octets else None,
            seconds,
            f"{octets} octets of {transfer} at {self.name}",
        )

    def connected(self, seconds: float = 20.0) -> Daemon:
        """Waits until it is connected to its trackers and they have its whole list."""

        def settled() -> bool:
            trackers = self.status()["trackers"]
            return all(
                t["state"] == "connected" and t["published_revision"] == t["revision"] for t in trackers
            )

        until(settled, seconds, f"{self.name} is connected to its trackers")
        return self


def _order(roles: set[str]) -> list[str]:
    """The order in which a daemon prints its lines."""
    return [role for role in ("Tracker", "Peer") if role in roles]


class Swarm:
    """The daemons of one test, in one directory. A context manager: nothing is left running."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ = environment(directory)
        self.password_file = write_password(directory / "password")
        self.daemons: list[Daemon] = []

    def make(self, name: str, role: str, *options: str) -> Daemon:
        """A daemon that is not started yet."""
        daemon = Daemon(self, name, role, options)
        self.daemons.append(daemon)
        return daemon

    def tracker(self, *options: str) -> Daemon:
        """A running tracker."""
        return self.make("tracker", "tracker", *options).start()

    def peer(self, name: str, tracker: Daemon | str, *options: str) -> Daemon:
        """A running peer, not necessarily connected yet."""
        address = tracker if isinstance(tracker, str) else f"{LOOPBACK}:{tracker.ports['Tracker']}"
        return self.make(name, "peer", "--tracker", address, *options).start()

    def folder(self, name: str) -> Path:
        """A new directory of the test."""
        path = self.directory / name
        path.mkdir()
        return path

    def __enter__(self) -> Swarm:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        for daemon in self.daemons:
            if daemon.process is not None:
                if daemon.process.poll() is None:
                    daemon.process.kill()
                daemon.wait()
        troubled = []
        for daemon in self.daemons:
            if daemon.log.exists():
                text = daemon.log.read_text(errors="replace")
                print(f"---- {daemon.name}\n{text[-8000:]}")
                if "Traceback" in text or "Warning: " in text:
                    troubled.append(daemon.name)
        if kind is None:
            assert not troubled, f"a traceback or a warning of Python in the log of {troubled}"
