"""The daemon as a service: what its manager hears, reloading by signal and by command, settings over a restart, the log."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.fakes.frozen import frozen
from tests.fakes.processes import Daemon, Swarm, until
from tests.fakes.supervised import Manager

NOWHERE = "127.0.0.1:9"  # discard: nobody listens
SHORT = 0.7  # longer than two of the manager's intervals in these tests


def peer(swarm: Swarm, **environ: str) -> Daemon:
    """A peer with a settings file of its own, not started."""
    daemon = swarm.make("alice", "peer", "--tracker", NOWHERE, "--config", str(config(swarm)))
    daemon.environ.update(environ)
    write(swarm, "")
    return daemon


def config(swarm: Swarm) -> Path:
    return swarm.directory / "p2pd.toml"


def write(swarm: Swarm, text: str) -> None:
    config(swarm).write_text(text)


def value(daemon: Daemon, key: str) -> object:
    """What holds now."""
    return daemon.call("config", keys=[key])["items"][0]["running"]


def test_a_manager_hears_the_whole_life(swarm: Swarm) -> None:
    with Manager(f"@p2pd-e2e-{os.getpid()}") as manager:
        daemon = peer(swarm, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="300000")
        daemon.launch()
        ready = manager.until(READY="1")[-1]
        # Whoever starts after us finds everything working.
        assert daemon.ctl("ping").status == 0
        assert ready["STATUS"].startswith("peer on 127.0.0.1:")
        for _ in range(3):
            manager.until(WATCHDOG="1")
        with frozen(daemon.pid):
            manager.socket.settimeout(SHORT)
            with pytest.raises(TimeoutError):
                manager.until(WATCHDOG="never")  # hears what was sent before it stood still, then nothing
            manager.socket.settimeout(20.0)
        manager.until(WATCHDOG="1")
        assert daemon.end() == 0
        heard = manager.until(STOPPING="1")
        assert heard[-1]["STATUS"] == "Stopping"


def test_children_do_not_speak_for_it(swarm: Swarm) -> None:
    told = swarm.directory / "environment"
    with Manager(str(swarm.directory / "s")) as manager:
        daemon = peer(swarm, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="60000000")
        daemon.password = ["--password-command", f"sh -c 'env > {told}; cat {swarm.password_file}'"]
        daemon.launch()
        manager.until(READY="1")
    assert "PATH=" in told.read_text()
    assert "NOTIFY_SOCKET" not in told.read_text()
    assert "WATCHDOG" not in told.read_text()


def test_a_hangup_reloads(swarm: Swarm) -> None:
    with Manager(str(swarm.directory / "s")) as manager:
        daemon = peer(swarm, NOTIFY_SOCKET=manager.address)
        daemon.launch()
        manager.until(READY="1")
        write(swarm, '[peer]\nmax_downloads = 3\n[log]\nlevel = "debug"\n[daemon]\nnice = 9\n')
        os.kill(daemon.pid, signal.SIGHUP)
        assert int(manager.until(RELOADING="1")[-1]["MONOTONIC_USEC"]) > 0
        manager.until(READY="1")
        assert (value(daemon, "peer.max_downloads"), value(daemon, "log.level")) == (3, "debug")
        assert daemon.call("queue")["max_active"] == 3
        assert value(daemon, "daemon.nice") == 10
        write(swarm, '[peer]\nmax_downloads = 4\n\n[pear]\nx = 1\n[log]\nlevel = "loud"\n')
        os.kill(daemon.pid, signal.SIGHUP)
        manager.until(RELOADING="1")
        assert "not reloaded" in manager.until(READY="1")[-1]["STATUS"]
        assert value(daemon, "peer.max_downloads") == 3
    log = daemon.log.read_text()
    assert f"{config(swarm)}:4: unknown section [pear]" in log
    assert f"{config(swarm)}:7: log.level must be one of" in log


def test_a_reload_says_what_changed_what_waits_and_what_is_wrong(swarm: Swarm) -> None:
    daemon = peer(swarm).start()
    write(swarm, '[limit]\nup = "1M"\n[daemon]\nnetwork = "other"\n')
    items = {item["key"]: item for item in daemon.ok("reload")}
    assert (items["limit.up"]["applied"], items["limit.up"]["value"]) == (True, 1 << 20)
    assert (items["daemon.network"]["applied"], items["daemon.network"]["applies"]) == (False, "restart")
    assert daemon.status()["limits"]["upload_bytes_per_s"] == 1 << 20
    write(swarm, '[limit]\nup = "2M"\ndwon = 1\n')
    result = daemon.ctl("reload")
    assert (result.status, result.out) == (2, "")
    assert f"{config(swarm)}:3: unknown setting limit.dwon" in result.err
    assert "did you mean limit.down?" in result.err
    assert daemon.status()["limits"]["upload_bytes_per_s"] == 1 << 20


def test_what_was_set_holds_over_a_restart(swarm: Swarm) -> None:
    daemon = peer(swarm)
    write(swarm, "[peer]\nmax_downloads = 3\n")
    daemon.start()
    before = config(swarm).read_text()
    assert daemon.ok("config", "set", "peer.max_downloads", "5")[0]["pending"] is False
    assert daemon.ok("config", "set", "daemon.nice", "11")[0]["pending"] is True
    assert daemon.ctl("config", "set", "peer.max_downloads", "none").status == 2
    assert (value(daemon, "peer.max_downloads"), value(daemon, "daemon.nice")) == (5, 10)
    assert daemon.end() == 0
    daemon.start()
    assert (value(daemon, "peer.max_downloads"), value(daemon, "daemon.nice")) == (5, 11)
    assert os.getpriority(os.PRIO_PROCESS, daemon.pid) == 11
    (item,) = daemon.ok("config", "unset", "peer.max_downloads")
    assert (item["value"], item["origin"], item["where"]) == (3, "file", f"{config(swarm)}:2")
    assert config(swarm).read_text() == before
    # Killed between two words it has one of them, whole.
    daemon.ok("config", "set", "limit.down", "3M")
    daemon.kill()
    daemon.start()
    assert value(daemon, "limit.down") == 3 << 20


def test_an_overlay_that_is_wrong_is_told_with_its_line(swarm: Swarm) -> None:
    daemon = peer(swarm).start()
    daemon.ok("config", "set", "limit.down", "3M")
    daemon.end()
    overlay = daemon.home / "overlay.toml"
    overlay.write_text(overlay.read_text() + "lost = 1\n")
    daemon.launch()
    assert daemon.wait() == 2
    assert f"{overlay}:6: unknown setting limit.lost" in daemon.log.read_text()


def test_the_log_in_the_journal_in_a_file_and_from_the_socket(swarm: Swarm) -> None:
    daemon = peer(swarm, P2PD_LOG_FILE="p2pd.log")
    daemon.log.touch()
    status = daemon.log.stat()
    daemon.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
    daemon.start()
    items = daemon.ok("logs", "-n", "1000")
    assert any(item["message"].startswith("= p2pd ") for item in items)
    assert "<6>info    app          = p2pd " in daemon.log.read_text()
    assert "= p2pd " in (daemon.home / "p2pd.log").read_text()
    assert (daemon.home / "p2pd.log").stat().st_mode & 0o777 == 0o600


class Follower:
    """p2pctl logs -f; its first line is here. Ended with the block."""

    def __init__(self, daemon: Daemon) -> None:
        words = ["--home", str(daemon.home), "--jsonl", "logs", "-n", "1", "-f"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "p2pctl", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=daemon.environ,
            text=True,
        )

    def __enter__(self) -> Follower:
        self.hears("")
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()

    def hears(self, words: str) -> None:
        """A line with these words comes."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if words in json.loads(line)["message"]:
                return
        raise AssertionError(f"the log ended without {words!r}")

    def end(self) -> tuple[int, str]:
        """How it ended by itself: status and stderr."""
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err


def test_following_the_log_ends_with_a_word(swarm: Swarm) -> None:
    daemon = peer(swarm).start()
    with Follower(daemon) as ours, Follower(daemon) as other:
        daemon.ok("config", "set", "log.level", "debug")
        ours.hears("log.level is debug now")
        other.process.send_signal(signal.SIGINT)
        assert other.end()[0] == 130
        daemon.kill()
        status, err = ours.end()
    assert status == 3
    assert json.loads(err)["message"] == "p2pd has ended, and its log with it"


def test_a_terminal_that_is_closed_takes_it_along_and_one_that_is_not_does_not(swarm: Swarm) -> None:
    daemon = peer(swarm)
    ours, theirs = pty.openpty()

    def in_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    daemon.start(stdin=theirs, preexec_fn=in_terminal)
    os.close(theirs)
    write(swarm, "[peer]\nmax_downloads = 3\n")
    os.kill(daemon.pid, signal.SIGHUP)
    until(lambda: value(daemon, "peer.max_downloads") == 3, 10.0, "the settings are read again")
    os.close(ours)
    assert daemon.wait() == 0
    assert "the terminal has gone" in daemon.log.read_text()


def test_nohup_keeps_it(swarm: Swarm) -> None:
    daemon = peer(swarm)
    daemon.prefix = ["nohup"]
    daemon.start()
    os.kill(daemon.pid, signal.SIGHUP)
    assert daemon.ctl("ping").status == 0
    assert daemon.ok("reload") == []
