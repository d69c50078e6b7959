"""What every measurement needs: a swarm of real daemons, their cost, the one-core seal rate, and a description of the machine.

The rule: nothing here asserts how fast anything is; figures come with what they were measured on. Linux only (/proc).
"""

from __future__ import annotations

import mmap
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from protocol import lanes  # noqa: E402
from protocol.fernet import IV_SIZE, TokenKey, token_size  # noqa: E402
from protocol.keys import make_invite  # noqa: E402
from protocol.limits import GIB, MIB  # noqa: E402

START_SECONDS = 60.0
HEADER = bytes(64)  # stands for sequence number and header of a block's record


# -- the machine ------------------------------------------------------------------------------------------


def machine(directory: Path) -> dict[str, Any]:
    """Processor, kernel, versions, load, and where the files lie."""
    import zmq

    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("cryptography", "pyzmq", "blake3", "msgspec")}
        | {"libzmq": zmq.zmq_version()},
        "native": lanes.native is not None,
        "files_on": filesystem(directory),
        "load": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def describe(found: dict[str, Any]) -> str:
    """The machine in three lines; a fourth where blocks are sealed one at a time."""
    alone = "\nwithout the native part of sealing here (protocol/native): `make test` builds it, transfers use less of a core with it"
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['kernel']}, Python {found['python']}\n{versions}\n"
        f"files on {found['files_on']}; load before the start {found['load']}; {found['date']}"
        f"{'' if found['native'] else alone}"
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def filesystem(directory: Path) -> str:
    """The type of the file system that holds `directory`, such as ext4 or tmpfs."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        if len(mount) >= len(best) and directory.resolve().is_relative_to(mount):
            best, kind = mount, found
    return kind


def touch_memory(octets: int) -> None:
    """Write to so much memory and give it back: a page that a virtual machine never touched, or that its host took back, is slow."""
    free = os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
    with mmap.mmap(-1, max(MIB, min(octets, free * 3 // 4) // MIB * MIB)) as block:
        for at in range(0, len(block), MIB):
            block[at : at + MIB] = bytes(MIB)


def random_file(path: Path, size: int) -> None:
    """A file of random octets, on the disk (not only in the cache) when this returns."""
    with path.open("wb") as stream:
        for at in range(0, size, MIB):
            stream.write(os.urandom(min(MIB, size - at)))
        stream.flush()
        os.fsync(stream.fileno())


def rate(work: Callable[[], int], seconds: float) -> float:
    """Octets a second of `work`, which does one piece and answers its octets; called once before the clock runs."""
    work()
    began = time.perf_counter()
    done = 0
    while (passed := time.perf_counter() - began) < seconds:
        done += work()
    return done / passed


def sealer(size: int = MIB) -> Callable[[], int]:
    """One seal of `size` random octets into a reused buffer, as an uploader does it."""
    key = TokenKey(os.urandom(32))
    payload = os.urandom(size)
    out = memoryview(bytearray(token_size(len(HEADER) + size)))

    def seal() -> int:
        key.seal_parts(out, (HEADER, payload), os.urandom(IV_SIZE), 0)
        return size

    return seal


def memory(pid: int, which: str = "VmRSS") -> int:
    """Octets that a process holds (VmRSS), or held at most (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{which}:")[2].split()[0]) * 1024


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


# -- daemons ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process used: CPU seconds since its start, and the most memory it ever held."""

    cpu_s: float
    peak_bytes: int


def cpu_seconds(pid: int, children: bool = False) -> float:
    """CPU seconds of a process so far; with `children`, of its children that have ended and of theirs instead."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[13:15] if children else fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def machine_seconds() -> tuple[float, float]:
    """CPU seconds that all cores were busy so far, and those that the host of a virtual machine took."""
    user, nice, system, _, _, irq, soft, stolen = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + soft) / tick, stolen / tick


def end(process: subprocess.Popen[Any]) -> None:
    """Ends a process, by force if need be, and closes what it printed to."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


class Daemon:
    """A p2pd under way, with its home in `directory`. `where` is the address it printed."""

    def __init__(
        self, name: str, words: Sequence[str], directory: Path, program: Sequence[str] = ("-m", "p2pd")
    ) -> None:
        self.home = directory / name
        self.process = subprocess.Popen(
            [sys.executable, *program, *words, "--home", name, "--log-level", "warning"],
            cwd=directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        watchdog = threading.Timer(START_SECONDS, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        if " listening on " not in line:
            self.stop()
            raise RuntimeError(f"the {name} did not start")
        self.where = line.split()[-1]

    def cost(self) -> Cost:
        """So far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        return Cost(cpu_seconds(self.process.pid), peak)

    def control(self, *words: str) -> float:
        """Runs p2pctl on this daemon; the seconds from its start to its exit. Raises CalledProcessError, RuntimeError."""
        if (status := self.process.poll()) is not None:
            raise RuntimeError(f"the daemon of {self.home.name} has ended with status {status}")
        command = [sys.executable, "-m", "p2pctl", "--home", str(self.home), *words]
        began = time.perf_counter()
        subprocess.run(
            command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
        )
        return time.perf_counter() - began

    def answer(self, *words: str) -> str:
        """What p2pctl prints about this daemon."""
        command = [sys.executable, "-m", "p2pctl", "--home", str(self.home), *words]
        return subprocess.run(
            command, env=environment(), stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()

    def stop(self) -> None:
        """Ends it, by force if need be."""
        end(self.process)


def environment() -> dict[str, str]:
    """The caller's, without settings of a daemon that is not ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("P2PD_", "P2PCTL_"))}
    return kept | {"PYTHONPATH": str(ROOT)}


@contextmanager
def swarm(peers: int, directory: Path | None) -> Iterator[tuple[Path, list[Daemon]]]:
    """A tracker and so many peers on loopback, in a temporary directory (within `directory`) that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="p2pd-bench-", dir=directory) as name, ExitStack() as stack:
        base = Path(name)
        secret = base / "secret.txt"
        secret.touch(mode=0o600)
        secret.write_text(make_invite(os.urandom(16)))
        password = ["--password-file", secret.name]

        def start(role: str, words: Sequence[str]) -> Daemon:
            daemon = Daemon(role, [*words, "--listen", "127.0.0.1:0", *password], base)
            stack.callback(daemon.stop)
            return daemon

        tracker = start("tracker", ["tracker"])
        found = [start(f"peer{number}", ["peer", "--tracker", tracker.where]) for number in range(peers)]
        yield base, found


def same(first: Path, second: Path) -> bool:
    """Whether two files hold the same octets."""
    if first.stat().st_size != second.stat().st_size:
        return False
    with first.open("rb") as one, second.open("rb") as other:
        while octets := one.read(MIB):
            if octets != other.read(MIB):
                return False
    return True


__all__ = [
    "GIB",
    "MIB",
    "ROOT",
    "START_SECONDS",
    "Cost",
    "Daemon",
    "cpu_seconds",
    "describe",
    "end",
    "machine",
    "machine_seconds",
    "memory",
    "percentile",
    "random_file",
    "rate",
    "same",
    "sealer",
    "swarm",
    "touch_memory",
]
