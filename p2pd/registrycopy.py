"""`p2pd registry`: moves what a tracker knows from one registry to another.

The rule: a running tracker is never written behind its back, and nothing in the target is lost unless --replace says so.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from p2pd import printing
from p2pd.kinds import registry as registry_kind
from p2pd.kinds import without_password
from p2pd.lock import LOCK_NAME, HomeLock
from p2pd.tracker import copying
from p2pd.tracker.copying import Progress
from p2pd.tracker.dsn import is_address, shown
from p2pd.tracker.reading import Reading, open_database, read_postgres, read_sqlite
from p2pd.tracker.registry import Registry, RegistryError
from p2pd.tracker.registry_sqlite import SqliteRegistry
from protocol.display import safe
from protocol.errors import Fault

PAUSE = 0.2  # seconds between two looks of the progress
PGPASS = "keep it in ~/.pgpass (PGPASSFILE)"
UNBOUNDED = 2**62  # what was taken once is copied


def run(args: argparse.Namespace) -> int:
    """The exit status. Raises Fault."""
    if args.action is None:
        raise Fault("usage", "registry copy FROM TO is what there is", "p2pd registry --help")
    source, target = registry_kind(args.source, "FROM"), registry_kind(args.target, "TO")
    warnings = _check(source, target)
    if not args.json:
        for warning in warnings:
            print(f"p2pd: warning: {warning}\n  hint: {PGPASS}", file=sys.stderr)
    bar = _Bar(sys.stderr.isatty() and not args.json)
    began = time.monotonic()
    try:
        with _read(source) as reading, _write(target) as there:
            there.make_room(replace=args.replace, resume=args.resume)
            try:
                done = copying.copy(reading, there.registry, there.now, bar.show)
            finally:
                bar.end()
            with there.read() as copied:
                copying.compare(reading, copied, there.now())
    except RegistryError as error:
        raise Fault("storage", str(error), "make the copy again with --continue") from error
    seconds = time.monotonic() - began
    names = {"source": _shown(source), "target": _shown(target)}
    if args.json:
        counts = {"devices": done.devices, "files": done.files, "duration_s": round(seconds, 3)}
        printing.document("registry", {**names, **counts}, [f"{warning}: {PGPASS}" for warning in warnings])
    else:
        printing.say(
            f"Copied {_counts(done.devices, done.files)} to {safe(names['target'])} in {seconds:.1f} s"
        )
    return 0


def _check(source: str, target: str) -> list[str]:
    """Raises Fault usage; what is unwise."""
    warnings = []
    for address, name in ((source, "FROM"), (target, "TO")):
        if not address:
            raise Fault("usage", f"{name} is empty", "p2pd registry copy --help")
        if without_password(address) != address:
            warnings.append(f"everybody on this machine can read the password in {name} (ps shows it)")
    files = not is_address(source) and not is_address(target)
    if source == target or (files and _path(source).resolve() == _path(target).resolve()):
        raise Fault("usage", "FROM and TO are the same", "p2pd registry copy --help")
    return warnings


def _path(name: str) -> Path:
    return Path(name).expanduser()


def _shown(where: str) -> str:
    return shown(where) if is_address(where) else str(_path(where).absolute())


def _counts(devices: int, files: int) -> str:
    return f"{devices:,} {'device' if devices == 1 else 'devices'} and {files:,} {'file' if files == 1 else 'files'}"


# -- both kinds -----------------------------------------------------------------------------------------------


@contextmanager
def _read(where: str) -> Iterator[Reading]:
    if not is_address(where):
        with read_sqlite(_path(where)) as reading:
            yield reading
        return
    database = open_database(where)
    try:
        with read_postgres(database) as reading:
            yield reading
    finally:
        database.close()


@dataclass(frozen=True, slots=True)
class _Target:
    """An open registry that is written to, its clock, and how to read it."""

    registry: Registry
    now: Callable[[], float]
    read: Callable[[], AbstractContextManager[Reading]]

    def make_room(self, *, replace: bool, resume: bool) -> None:
        """Raises Fault exists for one that has something."""
        with self.read() as reading:
            devices = reading.devices()
        if not devices or resume:
            return
        if not replace:
            known = _counts(len(devices), sum(device.files for device in devices))
            raise Fault(
                "exists",
                f"TO knows {known} already",
                "--continue goes on with a copy that was cut short; --replace forgets all of that first",
            )
        copying.clear(self.registry, devices, self.now)


@contextmanager
def _write(where: str) -> Iterator[_Target]:
    if is_address(where):
        from p2pd.tracker import shared_postgres
        from p2pd.tracker.registry_postgres import PostgresRegistry

        registry = PostgresRegistry(where, UNBOUNDED, UNBOUNDED, UNBOUNDED)
        try:
            if registry.database.run(shared_postgres.trackers):
                raise Fault(
                    "refused",
                    f"a tracker runs on {shown(where)}",
                    "stop it first; one that was killed is forgotten after a minute",
                )
            yield _Target(registry, registry.now, lambda: read_postgres(registry.database))
        finally:
            registry.close()
        return
    path = _path(where)
    with HomeLock(path.parent) if (path.parent / LOCK_NAME).exists() else nullcontext():
        file = SqliteRegistry(path, UNBOUNDED, UNBOUNDED, UNBOUNDED)
        try:

            def read() -> AbstractContextManager[Reading]:
                file.settle()
                return read_sqlite(path)

            yield _Target(file, time.time, read)
        finally:
            file.close()


class _Bar:
    """One line on a terminal that tells how far it is."""

    def __init__(self, on: bool) -> None:
        self._on = on
        self._began = self._shown = time.monotonic()
        self._length = 0

    def show(self, progress: Progress) -> None:
        """Not more often than somebody can read it."""
        now = time.monotonic()
        if self._on and now - self._shown >= PAUSE:
            self._shown = now
            rate = progress.files / (now - self._began)
            self._draw(
                f"{progress.devices:,} of {progress.of_devices:,} devices, {progress.files:,} of"
                f" {progress.of_files:,} files, {rate:,.0f} files/s"
            )

    def end(self) -> None:
        """Takes the line away."""
        if self._length:
            self._draw("")
            print("\r", end="", file=sys.stderr, flush=True)
            self._length = 0

    def _draw(self, text: str) -> None:
        print("\r" + text.ljust(self._length), end="", file=sys.stderr, flush=True)
        self._length = len(text)
