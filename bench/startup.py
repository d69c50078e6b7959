"""How long a one-shot client takes, against the bare cost of the libraries it needs.

    python bench/startup.py [--rounds 40]

Runs the cases in turn (A B C A B C ...), so that a slow moment of the machine hits all alike, and prints the
medians and their ratio to the baseline. It measures and never asserts. The status case talks to a real peer
that has nothing to do.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import msgpack  # noqa: E402
import zmq  # noqa: E402

from protocol.version import VERSION  # noqa: E402
from tests.fakes.processes import Swarm  # noqa: E402

BASELINE = "import zmq, msgpack, argparse"
CASES: dict[str, list[str]] = {
    BASELINE: ["-c", BASELINE],
    "bare interpreter": ["-c", "pass"],
    "p2pctl version": ["-m", "p2pctl", "version"],
    "p2pctl --json status": ["-m", "p2pctl", "--json", "status"],
    "p2pctl --help": ["-m", "p2pctl", "--help"],
    "p2pctl ping (no daemon)": ["-m", "p2pctl", "--socket", "missing.sock", "ping"],
}


def once(arguments: list[str], environ: dict[str, str]) -> float:
    """Milliseconds of one run, from fork to wait."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        env=environ,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return (time.perf_counter() - started) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40, help="of all cases; default 40")
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as directory:
        # Byte code is cached as in an installed package, whatever the caller's environment says.
        environ = {
            **os.environ,
            "PYTHONPYCACHEPREFIX": os.path.join(directory, "cache"),
        }
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        with redirect_stdout(io.StringIO()), Swarm(Path(directory)) as swarm:  # which prints its log
            environ["P2PCTL_SOCKET"] = str(swarm.peer("peer", "127.0.0.1:9").socket)
            for arguments in CASES.values():
                once(arguments, environ)  # byte code and page cache
            for _ in range(rounds):
                for name, arguments in CASES.items():
                    times[name].append(once(arguments, environ))
    print(
        f"{platform.machine()} {platform.system()}, {os.cpu_count()} cpus, Python {platform.python_version()}"
    )
    print(
        f"p2pctl {VERSION}, pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}, msgpack {_version(msgpack)}"
    )
    print(f"{rounds} rounds, interleaved; milliseconds, process start to exit\n")
    base = statistics.median(times[BASELINE])
    print(f"{'median':>8} {'min':>8} {'max':>8} {'ratio':>6}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{median:8.1f} {min(values):8.1f} {max(values):8.1f} {median / base:6.2f}  {name}")


def _version(module: Any) -> str:
    return ".".join(map(str, module.version))


if __name__ == "__main__":
    main()
