"""`download REF -o -` with real daemons and real pipes."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.processes import Daemon, Swarm, make_file, sha256, until

SIZE = 90 * 1024 * 1024 + 17  # more than a stream holds in memory
SECONDS = 60


@pytest.fixture(scope="module")
def module_swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    with Swarm(tmp_path_factory.mktemp("stream")) as made:
        yield made


@pytest.fixture(scope="module")
def peers(module_swarm: Swarm) -> tuple[Daemon, Daemon]:
    """Two peers of one tracker; the first shares `big.bin` and `tree.tar`."""
    tracker = module_swarm.tracker()
    alice, bob = module_swarm.peer("alice", tracker), module_swarm.peer("bob", tracker)
    files = module_swarm.folder("files")
    make_file(files / "big.bin", SIZE)
    make_file(files / "leaf.txt", 100_000, seed=3)
    with tarfile.open(files / "tree.tar", "w") as archive:
        archive.add(files / "leaf.txt", "tree/leaf.txt")
    alice.ok("add", files / "big.bin", files / "tree.tar")
    return alice, bob


def shell(
    daemon: Daemon, words: str, rest: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """`p2pctl WORDS REST` in a shell; the statuses of the pipe are the last line of stderr."""
    command = shlex.join([sys.executable, "-m", "p2pctl", "--home", str(daemon.home)])
    script = f'{command} {words} {rest}\necho "${{PIPESTATUS[@]}}" >&2'
    return subprocess.run(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=daemon.environ,
        cwd=cwd or daemon.where,
        timeout=SECONDS,
        check=True,
    )


def statuses(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode().splitlines()[-1]


def idle(daemon: Daemon) -> bool:
    """No stream under way and no trace of one."""
    return daemon.status()["peer"]["streams"] == 0 and not list(daemon.home.glob("s-*"))


@pytest.mark.parametrize("which", [0, 1], ids=["shared here", "from the swarm"])
def test_the_whole_of_it(module_swarm: Swarm, peers: tuple[Daemon, Daemon], which: int) -> None:
    done = shell(peers[which], "download big.bin -o -", "| sha256sum")
    assert done.stdout.split()[0].decode() == sha256(module_swarm.directory / "files" / "big.bin")
    assert statuses(done) == "0 0"
    assert "Streamed big.bin from " in done.stderr.decode()
    assert until(lambda: idle(peers[which]), 10.0, "nothing is left")
    assert peers[which].ok("transfers") == []
    assert peers[1].ok("list") == []


@pytest.mark.parametrize("count", [0, 1, 100])
def test_a_reader_that_has_enough(peers: tuple[Daemon, Daemon], count: int) -> None:
    done = shell(peers[1], "download big.bin -o -", f"| head -c {count}")
    assert len(done.stdout) == count
    assert statuses(done) == "141 0"
    assert done.stderr.decode().splitlines()[:-1] == []
    assert until(lambda: idle(peers[1]), 10.0, "the stream ended")


def test_into_tar(module_swarm: Swarm, peers: tuple[Daemon, Daemon]) -> None:
    folder = module_swarm.folder("untarred")
    assert statuses(shell(peers[1], "-q download tree.tar -o -", "| tar x", folder)) == "0 0"
    assert sha256(folder / "tree" / "leaf.txt") == sha256(module_swarm.directory / "files" / "leaf.txt")


def test_into_a_file_by_the_shell(module_swarm: Swarm, peers: tuple[Daemon, Daemon]) -> None:
    out = module_swarm.directory / "out.bin"
    assert statuses(shell(peers[1], "-q download big.bin -o -", f"> {out}")) == "0"
    assert sha256(out) == sha256(module_swarm.directory / "files" / "big.bin")


def test_not_found(peers: tuple[Daemon, Daemon]) -> None:
    done = shell(peers[1], "download nothing.bin -o -", "| wc -c")
    assert (done.stdout.split(), statuses(done)) == ([b"0"], "4 0")


def start(daemon: Daemon, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "p2pctl", "--home", str(daemon.home), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=daemon.environ,
        cwd=daemon.where,
    )


def some(process: subprocess.Popen[bytes], octets: int) -> bytes:
    assert process.stdout is not None
    return process.stdout.read(octets)


def test_ctrl_c(peers: tuple[Daemon, Daemon]) -> None:
    process = start(peers[1], "download", "big.bin", "-o", "-")
    assert some(process, 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert until(lambda: idle(peers[1]), 10.0, "the stream ended")


def test_a_client_that_is_killed(peers: tuple[Daemon, Daemon]) -> None:
    process = start(peers[1], "download", "big.bin", "-o", "-")
    assert some(process, 1)
    process.kill()
    process.communicate(timeout=SECONDS)
    assert until(lambda: idle(peers[1]), 10.0, "the stream ended")


def test_a_source_that_is_killed_in_the_middle_is_waited_for(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker)
    path = make_file(swarm.folder("files") / "big.bin", SIZE)
    alice.ok("add", path)
    process = start(bob, "-q", "download", "big.bin", "-o", "-")
    hasher = hashlib.sha256(some(process, 1 << 20))
    alice.kill()
    alice.start().connected()
    while data := some(process, 1 << 20):
        hasher.update(data)
    assert process.wait(SECONDS) == 0
    process.communicate()
    assert hasher.hexdigest() == sha256(path)


def test_a_daemon_that_is_killed_in_the_middle(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker)
    path = make_file(swarm.folder("files") / "big.bin", SIZE)
    alice.ok("add", path)
    process = start(alice, "download", "big.bin", "-o", "-")
    read = some(process, 1 << 20)
    alice.kill()
    rest = some(process, -1)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 3
    assert b"Traceback" not in err
    assert len(read + rest) < SIZE
    assert path.read_bytes().startswith(read + rest)


def test_a_file_that_is_damaged_here_is_not_written(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker)
    path = make_file(swarm.folder("files") / "a.bin", 3 << 20)
    good = path.read_bytes()
    alice.ok("add", path)
    damage(path, 2 << 20)
    process = start(alice, "download", "a.bin", "-o", "-", "--timeout", "3")
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode in (4, 6, 7)
    assert out == good[: 2 << 20]


def damage(path: Path, at: int) -> None:
    """Other octets, which neither size nor time tell of: whoever serves them lies without knowing."""
    status = os.stat(path)
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(bytes(100))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_liar_among_the_sources(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    liar, honest, bob = [swarm.peer(name, tracker) for name in ("liar", "honest", "bob")]
    size = 24 << 20
    first = make_file(swarm.folder("first") / "a.bin", size)
    second = make_file(swarm.folder("second") / "a.bin", size)
    content = liar.ok("add", first)[0]["id"]
    for piece in range(0, 24, 2):
        damage(first, piece << 20)
    # Alone it gives nothing that could be written: its first piece is wrong.
    process = start(bob, "-q", "download", content, "-o", "-", "--timeout", "3")
    out, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode in (6, 9), out) == (True, b"")
    honest.ok("add", second)
    done = shell(bob, f"-q download {content} -o -", "| sha256sum")
    assert (done.stdout.split()[0].decode(), statuses(done)) == (sha256(second), "0 0")
