"""A real PostgreSQL server for tests: started in a temporary directory, on a Unix socket only, ended with the tests.

The rule: nothing of it outlives its user. The server is a child that is told to stop, killed when it does not, and dies with
us when we are killed. Without PostgreSQL on the machine tests are skipped with a reason, unless P2PD_TEST_EVERYTHING is set,
as in .ci/run.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fakes.frozen import freeze, thaw

PORT = 5432  # part of the name of the socket, no port of TCP
PAUSE = 0.02
START_SECONDS = 30.0
STOP_SECONDS = 15.0
# What makes a server safe takes time that tests do not have.
SETTINGS = (
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "shared_buffers=32MB",
    "max_connections=40",
    "autovacuum=off",
    "log_min_messages=fatal",
)
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def find_programs() -> Path | None:
    """The newest directory with initdb and postgres, or None."""
    for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True):
        if (path / "initdb").exists() and (path / "postgres").exists():
            return path
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _version(path: Path) -> int:
    name = path.parent.name
    return int(name) if name.isdigit() else 0


class Server:
    """A server that runs; `stop` and `start` in the middle of a test are its failures."""

    def __init__(
        self, programs: Path, directory: Path, settings: Sequence[str] = SETTINGS, **popen: Any
    ) -> None:
        self.directory = directory
        self._settings = settings
        self._programs = programs
        self._popen = popen
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        self._run("initdb", "-D", str(directory / "data"), "-U", "p2pd", "-A", "trust", "-E", "UTF8",
                  "--locale=C.UTF-8", "--no-sync", "--no-instructions")  # fmt: skip

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self._programs / program, *words], cwd=self.directory, capture_output=True, text=True,
            timeout=120, check=False, **self._popen,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        options = [word for option in self._settings for word in ("-c", option)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    "-D",
                    str(self.directory / "data"),
                    "-k",
                    str(self.directory),
                    *options,
                ],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=partial(_die_with_us, os.getpid()),
                **self._popen,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log_text = (self.directory / "log").read_text(errors="replace")
                    raise AssertionError(f"PostgreSQL did not start: {error}\n{log_text[-2000:]}") from error
                time.sleep(PAUSE)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends it: SIGINT ends all sessions at once, SIGQUIT is a crash."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def pids(self) -> list[int]:
        """The processes that serve sessions, and the others of the server, the first one last."""
        assert self._process is not None
        own = self._process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [*map(int, children), own]

    def freeze(self) -> None:
        """Nothing of it runs any more, but the connections stay: a server that hangs."""
        *_, own = self.pids
        freeze(own)  # from now on it neither starts others nor forgets those that end
        for pid in self.pids[:-1]:
            freeze(pid)

    def thaw(self) -> None:
        """It goes on."""
        for pid in self.pids:
            thaw(pid)

    def url(self, database: str) -> str:
        """The address of a database."""
        return f"postgresql://p2pd@/{database}?host={self.directory}&port={PORT}"

    def make_database(self) -> str:
        """The address of a new, empty database."""
        self._count += 1
        name = f"test_{self._count}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


def _die_with_us(parent: int) -> None:
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGINT)
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def running(settings: Sequence[str] = SETTINGS) -> Iterator[Server]:
    """A server, as an ordinary user also when we are root: PostgreSQL insists. `settings`: `name=value` of postgresql.conf."""
    programs = find_programs()
    if programs is None:
        reason = "PostgreSQL is not installed (Debian: apt install postgresql)"
        if os.environ.get("P2PD_TEST_EVERYTHING"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    popen: dict[str, Any] = {}
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            user = pwd.getpwnam("nobody")
        os.chown(directory, user.pw_uid, user.pw_gid)
        popen = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    try:
        server = Server(programs, directory, settings, **popen)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def empty(address: str) -> None:
    """Takes everything out of a registry that is closed."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "TRUNCATE tracker, device, content, name, label, entry, loose, fetching, ban RESTART IDENTITY"
        )
