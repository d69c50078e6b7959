"""What people use today to bring one file from one machine to another, each on loopback: its servers, one fetch, and what that took.

The rule: everything runs from a temporary directory with configuration, keys and ports of its own; nothing of the system is changed, and
what was started is ended. A rival whose program is not installed raises Missing. Linux only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

from bench.common import ROOT, START_SECONDS, cpu_seconds, end

HOST = "127.0.0.1"
CIPHER = "aes128-gcm@openssh.com"
FETCH_SECONDS = 300.0
PEAK_SECONDS = 0.05
SYSTEM_PYTHON = "/usr/bin/python3"


class Missing(Exception):
    """A program that this rival needs is not there. The text says which."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One fetch: seconds from the start of the client (libtorrent: of the torrent) to its end, CPU seconds of both ends, the most memory
    that a process of the receiver held."""

    seconds: float
    sender_cpu_s: float
    receiver_cpu_s: float
    receiver_peak_bytes: int


class Rival:
    """One way to fetch `source`. Servers are started by the constructor and ended by `stack`. Raises Missing."""

    name: ClassVar[str]
    encrypts: ClassVar[str]
    verifies: ClassVar[str]
    version: str

    def fetch(self, target: Path) -> Taken:
        """Brings the file to `target`, which must not be there. Raises RuntimeError when it fails or takes too long."""
        raise NotImplementedError


# -- processes --------------------------------------------------------------------------------------------


def need(name: str) -> str:
    """The path of a program. Raises Missing."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        raise Missing(f"{name} is not installed")
    return path


def free_port() -> int:
    """A TCP port of loopback that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def first_line(*command: str) -> str:
    """What a program says of its version, on whichever stream."""
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return (said.stdout or said.stderr).splitlines()[0].strip()


def start(stack: ExitStack, command: Sequence[str], log: Path, pipes: bool = False) -> subprocess.Popen[str]:
    """A process that `stack` ends; its errors go to `log`. With `pipes`, its standard streams are ours."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else errors,
            stderr=errors,
            text=True,
        )
    stack.callback(end, process)
    return process


def wait_for_port(process: subprocess.Popen[str], port: int, log: Path) -> None:
    """Until somebody listens there. Raises RuntimeError with what the process wrote when it ended instead, or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{log.stem} did not start: {log.read_text()[-500:]}")


def run(command: Sequence[str]) -> tuple[float, float, int]:
    """Runs a program to its end: seconds, CPU seconds of it and its children, most octets of memory that one of them held.

    Raises RuntimeError when it fails; it is killed when it takes longer than FETCH_SECONDS.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    watchdog = threading.Timer(FETCH_SECONDS, process.kill)
    watchdog.start()
    try:
        with Peak(process.pid) as peak:
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        watchdog.cancel()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with status {process.returncode}")
    return seconds, used.ru_utime + used.ru_stime, peak.octets


class Peak:
    """The most memory that a process and its children held, seen now and then: ru_maxrss counts what this program held at the fork."""

    def __init__(self, pid: int) -> None:
        self.octets = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self, pid: int) -> None:
        while not self._over.wait(PEAK_SECONDS):
            self._look(pid)

    def _look(self, pid: int) -> None:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return  # it ended
        if "VmHWM:" in status:
            self.octets = max(self.octets, int(status.partition("VmHWM:")[2].split()[0]) * 1024)
        for child in children:
            self._look(int(child))


class Served(Rival):
    """A client of one shot, and a server that forks for each connection."""

    server: subprocess.Popen[str]
    command: Callable[[Path], Sequence[str]]

    def fetch(self, target: Path) -> Taken:
        """See Rival."""
        before = cpu_seconds(self.server.pid, children=True)
        seconds, receiver, peak = run(self.command(target))
        self._settle()
        return Taken(seconds, cpu_seconds(self.server.pid, children=True) - before, receiver, peak)

    def _settle(self) -> None:
        """Until the server has buried its children: their CPU seconds count from then on."""
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children")
        deadline = time.monotonic() + START_SECONDS
        while children.read_text().strip():
            if time.monotonic() > deadline:
                raise RuntimeError(f"a connection of {self.name} does not end")
            time.sleep(0.02)


# -- ssh --------------------------------------------------------------------------------------------------


class Sshd:
    """An OpenSSH server of our own: host key, user key, configuration and port; only the caller may enter, from loopback."""

    def __init__(self, stack: ExitStack, base: Path) -> None:
        sshd, keygen = need("sshd"), need("ssh-keygen")
        self.version = first_line(need("ssh"), "-V").partition(",")[0]
        self.port, self.base = free_port(), base
        for name in ("host", "user"):
            subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(base / name)], check=True)
        public = (base / "host.pub").read_text()
        (base / "known").write_text(f"[{HOST}]:{self.port} {public}")
        config = base / "sshd_config"
        config.write_text(
            f"ListenAddress {HOST}:{self.port}\nHostKey {base}/host\nAuthorizedKeysFile {base}/user.pub\nPidFile none\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nCiphers {CIPHER}\n"
        )
        command = [sshd, "-D", "-e", "-f", str(config)]
        if os.geteuid() == 0 and not Path("/run/sshd").is_dir():
            # As root it insists on this directory; a mount of its own gives it one that nobody else sees.
            inside = 'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"'
            command = [need("unshare"), "--mount", "sh", "-c", inside, "sh", *command]
        self.server = start(stack, command, base / "sshd.log")
        wait_for_port(self.server, self.port, base / "sshd.log")

    def options(self) -> list[str]:
        """For ssh and scp alike, the port apart."""
        found = ["-F", "none", "-i", str(self.base / "user"), "-c", CIPHER]
        settings = (
            f"UserKnownHostsFile={self.base / 'known'}",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "BatchMode=yes",
            "LogLevel=error",
        )
        return found + [word for setting in settings for word in ("-o", setting)]

    def remote(self, source: Path) -> str:
        """The file as the caller names it."""
        return f"{pwd.getpwuid(os.geteuid()).pw_name}@{HOST}:{source}"


class RsyncSsh(Served):
    """rsync over ssh."""

    name, encrypts, verifies = "rsync over ssh", "AES-128-GCM", "whole"

    def __init__(self, stack: ExitStack, base: Path, source: Path) -> None:
        rsync = need("rsync")
        ssh = Sshd(stack, base)
        self.server = ssh.server
        self.version = f"{rsync_version(rsync)}, {ssh.version}"
        shell = " ".join([need("ssh"), "-p", str(ssh.port), *ssh.options()])
        self.command = lambda target: [rsync, "-q", "-e", shell, ssh.remote(source), str(target)]


class Scp(Served):
    """scp, which speaks SFTP today."""

    name, encrypts, verifies = "scp", "AES-128-GCM", "no"

    def __init__(self, stack: ExitStack, base: Path, source: Path) -> None:
        scp = need("scp")
        ssh = Sshd(stack, base)
        self.server, self.version = ssh.server, ssh.version
        self.command = lambda target: [
            scp,
            "-q",
            "-P",
            str(ssh.port),
            *ssh.options(),
            ssh.remote(source),
            str(target),
        ]


class RsyncDaemon(Served):
    """rsync's own protocol, in the clear."""

    name, encrypts, verifies = "rsync daemon", "no", "whole"

    def __init__(self, stack: ExitStack, base: Path, source: Path) -> None:
        rsync = need("rsync")
        self.version = rsync_version(rsync)
        port = free_port()
        config = base / "rsyncd.conf"
        user = f"uid = {os.geteuid()}\ngid = {os.getegid()}\n" if os.geteuid() == 0 else ""
        config.write_text(f"use chroot = no\n{user}[bench]\npath = {source.parent}\nread only = yes\n")
        log = base / "rsyncd.log"
        flags = ["--daemon", "--no-detach", f"--config={config}", f"--address={HOST}", f"--port={port}"]
        self.server = start(stack, [rsync, *flags, f"--log-file={log}"], log)
        wait_for_port(self.server, port, log)
        self.command = lambda target: [rsync, "-q", f"rsync://{HOST}:{port}/bench/{source.name}", str(target)]


def rsync_version(rsync: str) -> str:
    """Such as "rsync 3.2.7"."""
    return "rsync " + first_line(rsync, "--version").split()[2]


# -- libtorrent -------------------------------------------------------------------------------------------


class Torrent(Rival):
    """libtorrent over TCP: one process that seeds, one that fetches, both up before the clock runs."""

    name, encrypts, verifies = "libtorrent, TCP", "no", "pieces"
    mode = "plain"

    def __init__(self, stack: ExitStack, base: Path, source: Path) -> None:
        if not Path(SYSTEM_PYTHON).exists():
            raise Missing(f"{SYSTEM_PYTHON} is not there")
        script = [SYSTEM_PYTHON, str(ROOT / "bench" / "torrent.py")]
        said = subprocess.run([*script, "version"], capture_output=True, text=True, check=False)
        if said.returncode:
            raise Missing(f"{SYSTEM_PYTHON} has no libtorrent")
        self.version = f"libtorrent {said.stdout.strip()}"
        torrent, log = str(base / "bench.torrent"), base / "torrent.log"
        self._seeder = start(stack, [*script, "seed", str(source), torrent, self.mode], log, pipes=True)
        port = self._line(self._seeder)
        self._fetcher = start(stack, [*script, "fetch", torrent, port, self.mode], log, pipes=True)
        self._name = source.name

    def _line(self, process: subprocess.Popen[str]) -> str:
        watchdog = threading.Timer(FETCH_SECONDS, process.kill)
        watchdog.start()
        try:
            line = _stream(process.stdout).readline()
        finally:
            watchdog.cancel()
        if not line:
            raise RuntimeError(f"{self.name} failed")
        return line.strip()

    def fetch(self, target: Path) -> Taken:
        """See Rival."""
        directory = target.with_suffix(".d")
        directory.mkdir()
        before = cpu_seconds(self._seeder.pid), cpu_seconds(self._fetcher.pid)
        commands = _stream(self._fetcher.stdin)
        commands.write(f"{directory}\n")
        commands.flush()
        seconds, peak = self._line(self._fetcher).split()
        after = cpu_seconds(self._seeder.pid), cpu_seconds(self._fetcher.pid)
        (directory / self._name).rename(target)
        directory.rmdir()
        return Taken(float(seconds), after[0] - before[0], after[1] - before[1], int(peak))


class EncryptedTorrent(Torrent):
    """The same with encryption forced at both ends."""

    name, encrypts = "libtorrent, encrypted", "RC4"
    mode = "encrypted"


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


ALL: tuple[type[Rival], ...] = (RsyncSsh, RsyncDaemon, Scp, Torrent, EncryptedTorrent)
