"""The daemon under the filters of system calls of its unit: everything that it does, it may do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.processes import ROOT, Swarm, make_file, sha256, until
from tests.fakes.programs import needs

UNITS = ROOT / "packaging/systemd/system"
SANDBOX = ROOT / "tests/fakes/sandbox.py"


@pytest.fixture
def sandbox() -> list[str]:
    """What starts a program under the restrictions, but for the unit."""
    needs("systemd-analyze")
    prefix = [needs("setpriv"), "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    if os.geteuid() != 0:
        prefix = prefix[:1] + prefix[-1:]
    prefix += [sys.executable, str(SANDBOX)]
    probe = subprocess.run(
        [*prefix, str(UNITS / "p2pd-peer.service"), "/bin/true"], capture_output=True, text=True, check=False
    )
    if "No module named 'seccomp'" in probe.stderr:
        pytest.skip("python3-seccomp of this Python is not installed")
    assert probe.returncode == 0, probe.stderr
    return prefix


def test_what_is_forbidden_is_forbidden(sandbox: list[str], tmp_path: Path) -> None:
    """A filter that filters nothing would prove nothing."""
    tries = (
        "import mmap, os, socket\n"
        "def no(work):\n"
        "    try: work()\n"
        "    except OSError as error: return error.errno\n"
        "print(no(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),\n"
        "      no(lambda: socket.socket(socket.AF_PACKET)),\n"
        "      no(lambda: os.chroot('/')), no(lambda: os.chown('.', 1, 1)), no(lambda: os.chmod('.', 0o4700)),\n"
        "      no(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))), no(lambda: os.getcwd()))\n"
    )
    unit = str(UNITS / "p2pd-peer.service")
    done = subprocess.run(
        [*sandbox, unit, sys.executable, "-c", tries],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "97", "1", "1", "1", "1", "None"]


def test_a_swarm_under_the_restrictions(swarm: Swarm, sandbox: list[str]) -> None:
    tracker = swarm.make("tracker", "tracker")
    tracker.prefix = [*sandbox, str(UNITS / "p2pd-tracker.service")]
    tracker.start()
    peers = []
    for name in ("alice", "bob"):
        daemon = swarm.make(name, "peer", "--tracker", tracker.address)
        daemon.prefix = [*sandbox, str(UNITS / "p2pd-peer.service")]
        peers.append(daemon.start().connected())
    alice, bob = peers
    file = make_file(swarm.directory / "a.bin", 20_000_000)
    tree = swarm.folder("tree")
    for number in range(3):
        make_file(tree / f"{number}.bin", 1000 + number)
    alice.ok("add", file)
    alice.ok("add", "-r", tree)
    into = swarm.folder("into")
    (download,) = bob.ok("download", "a.bin", "-o", into / "a.bin")
    assert download["state"] == "done"
    assert sha256(into / "a.bin") == sha256(file)
    bob.ok("download", "tree", cwd=into)
    assert sorted(path.name for path in (into / "downloaded_tree").iterdir()) == ["0.bin", "1.bin", "2.bin"]
    streamed = subprocess.run(
        [sys.executable, "-m", "p2pctl", "--home", str(bob.home), "download", "a.bin", "-o", "-"],
        env=bob.environ,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert len(streamed.stdout) == 20_000_000
    octets = bytearray((into / "a.bin").read_bytes())
    octets[5] ^= 1
    times = (into / "a.bin").stat()
    (into / "a.bin").write_bytes(octets)
    os.utime(into / "a.bin", ns=(times.st_atime_ns, times.st_mtime_ns))
    bob.ok("verify", into / "a.bin", "--repair", "--restore-changed")
    assert sha256(into / "a.bin") == sha256(file)
    hooked = into / "hooked"
    bob.ok("config", "set", "hooks.download_done", "/bin/touch", hooked)
    bob.ok("download", "name:tree/0.bin", "-o", into / "0.bin")
    until(hooked.exists, 20.0, "the hook has run")
    for daemon in (bob, alice, tracker):
        assert daemon.end() == 0
