"""Each exit status of the published table comes from something that happens: real daemons, real processes of p2pctl.

SITUATIONS is the table. ELSEWHERE names the tests that show a status in more situations, or need a stage of their own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2pctl.exitcodes import BROKEN_PIPE, INTERRUPTED, TERMINATED
from protocol.errors import EXIT_STATUS
from tests.e2e.test_verify import rot
from tests.fakes.frozen import frozen
from tests.fakes.processes import ROOT, Daemon, Result, Swarm, make_file, until, write_password
from tests.fakes.schemas import validate_line, validate_run

SIZE = 1 << 20


class Stage:
    """A swarm in which something is wrong everywhere."""

    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm
        with socket.create_server(("127.0.0.1", 0)) as server:
            nowhere = f"127.0.0.1:{server.getsockname()[1]}"
        self.tracker = swarm.tracker()
        self.alice = swarm.peer("alice", self.tracker)
        self.bob = swarm.peer("bob", self.tracker)
        self.alone = swarm.peer("alone", nowhere)
        self.nobody = swarm.make("nobody", "peer")
        self.stranger = swarm.make("stranger", "peer", "--tracker", self.tracker.address)
        self.stranger.password = [
            "--password-file",
            str(write_password(swarm.directory / "other", "another password altogether")),
        ]
        self.stranger.start()
        self.inside = swarm.folder("in")
        self.file = make_file(swarm.directory / "file.bin", SIZE)
        self.rotten = make_file(swarm.directory / "rotten.bin", SIZE, seed=2)
        twins = [make_file(swarm.folder(f"twin{n}") / "twin.bin", 100, seed=10 + n) for n in range(2)]
        more = [make_file(swarm.directory / f"{n}.bin", SIZE, seed=n) for n in (3, 4)]
        self.alice.connected().ok("add", self.file, self.rotten, *more, *twins)
        rot(self.rotten, 1000)
        self.bob.connected().ok("download", "file.bin", "-o", self.inside)
        self.slow = self.bob.begin("3.bin", self.inside, file="slow", limit_bytes_per_s=1024)
        """A download that takes a quarter of an hour."""
        self.given_up = self.bob.begin("3.bin", self.inside, file="given up", limit_bytes_per_s=1024)
        self.bob.call("cancel", transfer=self.given_up)

    def start(
        self, daemon: Daemon, *words: str | Path, stdout: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """A p2pctl that is not waited for."""
        return subprocess.Popen(
            [sys.executable, "-m", "p2pctl", "--home", str(daemon.home), *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=daemon.environ,
            text=True,
        )

    def signalled(self, number: int, *words: str) -> Result:
        """One of bob's that waits for the slow download until a signal comes."""
        with self.start(self.bob, "--progress", "json", *words) as process:
            assert process.stderr is not None
            assert validate_line(process.stderr.readline())["schema"] == "p2p.progress/1"
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
        return Result(process.returncode, out, err)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Swarm(tmp_path_factory.mktemp("statuses")) as swarm:
        yield Stage(swarm)


def into_a_full_disk(stage: Stage) -> Result:
    with open("/dev/full", "wb") as full:
        process = stage.start(stage.alice, "--json", "list", stdout=full.fileno())
        _, err = process.communicate(timeout=20)
    return Result(process.returncode, "", err)


def a_reader_that_leaves(stage: Stage) -> Result:
    read, write = os.pipe()
    os.close(read)
    process = stage.start(stage.alice, "--json", "list", stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=20)
    return Result(process.returncode, "", err)


def another_user(stage: Stage) -> Result:
    if os.geteuid() != 0:
        pytest.skip("needs the right to become another user")
    # Everything is imported before: that user may have no right to read the interpreter's own files.
    script = "import os, sys; from p2pctl.cli import main; main(['--json', *sys.argv[3:]]); os.setuid(65534); sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "--socket", str(stage.alice.socket), "--json", "ping"],
        env=stage.alice.environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def hangs(stage: Stage) -> Result:
    with frozen(stage.alone.pid):
        return stage.alone.ctl("--json", "--timeout", "0.5", "status")


Situation = Callable[[Stage], Result]

SITUATIONS: list[tuple[int, str, Situation]] = [
    (0, "an empty list", lambda s: s.alone.ctl("--json", "list")),
    (0, "a search without hits", lambda s: s.bob.ctl("--json", "search", "nothing-like-it")),
    (1, "the download that is awaited was given up", lambda s: s.bob.ctl("--json", "wait", s.given_up)),
    (2, "an unknown option", lambda s: s.bob.ctl("--json", "list", "--nonsense")),
    (2, "an unknown command", lambda s: s.bob.ctl("--json", "nonsense")),
    (2, "no regular file", lambda s: s.bob.ctl("--json", "add", "/dev/null")),
    (3, "no daemon", lambda s: s.nobody.ctl("--json", "status")),
    (4, "a reference that means nothing", lambda s: s.bob.ctl("--json", "info", "gone.bin")),
    (4, "a search that must find", lambda s: s.bob.ctl("--json", "search", "gone.bin", "--require")),
    (5, "two files of one name", lambda s: s.bob.ctl("--json", "info", "twin.bin")),
    (6, "a long download", lambda s: s.bob.ctl("--json", "wait", s.slow, "--timeout", "0.5")),
    (6, "a daemon that hangs", hangs),
    (7, "no tracker", lambda s: s.alone.ctl("--json", "search", "file")),
    (8, "another password", lambda s: s.stranger.ctl("--json", "search", "file")),
    (8, "another user", another_user),
    (9, "a rotten file", lambda s: s.alice.ctl("--json", "verify", s.rotten)),
    (10, "a full disk behind stdout", into_a_full_disk),
    (10, "no such directory", lambda s: s.bob.ctl("--json", "download", "file.bin", "-o", s.inside / "no/x")),
    (11, "it is there already", lambda s: s.bob.ctl("--json", "download", "file.bin", "-o", s.inside)),
    (12, "one of two", lambda s: s.bob.ctl("--json", "info", "file.bin", "gone.bin")),
    (13, "a tracker is asked to share", lambda s: s.tracker.ctl("--json", "add", s.file)),
    (130, "Ctrl-C", lambda s: s.signalled(signal.SIGINT, "--json", "wait", s.slow)),
    (143, "SIGTERM", lambda s: s.signalled(signal.SIGTERM, "--json", "wait", s.slow)),
    (141, "nobody reads", a_reader_that_leaves),
]

ELSEWHERE: dict[int, list[str]] = {
    1: ["tests/p2pctl/test_cli.py::test_an_answer_of_a_strange_shape_is_no_traceback"],
    2: ["tests/e2e/test_life.py::test_settings_that_cannot_be", "tests/e2e/test_passwords.py::test_refused"],
    3: ["tests/e2e/test_life.py::test_after_a_kill", "tests/e2e/test_life.py::test_in_the_middle_of_everything"],
    4: ["tests/e2e/test_troubles.py::test_no_such_file"],
    6: ["tests/e2e/test_contract.py::test_a_daemon_that_hangs"],
    7: ["tests/e2e/test_troubles.py::test_tracker_goes_away", "tests/e2e/test_troubles.py::test_no_peer_has_it_any_more",
        "tests/e2e/test_life.py::test_port_in_use"],
    8: ["tests/e2e/test_troubles.py::test_wrong_password", "tests/e2e/test_passwords.py::test_key_that_others_can_read"],
    9: ["tests/e2e/test_verify.py::test_a_flipped_bit_is_found_and_mended"],
    10: ["tests/e2e/test_full_disk.py::test_refused_when_it_cannot_fit", "tests/e2e/test_full_disk.py::test_home_on_a_full_disk"],
    12: ["tests/e2e/test_contract_failures.py::test_several_arguments_some_of_which_fail"],
    13: ["tests/e2e/test_life.py::test_second_daemon_on_one_home"],
    14: ["tests/e2e/test_versions.py::test_a_client_of_tomorrow", "tests/e2e/test_versions.py::test_a_daemon_that_speaks_otherwise"],
}  # fmt: skip

WITH_A_DOCUMENT = (9, 12)
"""Statuses with an answer on stdout beside the failure: what of several arguments or files is well."""


def test_the_table_is_whole() -> None:
    statuses = {status for status, *_ in SITUATIONS} | ELSEWHERE.keys()
    assert statuses == {*EXIT_STATUS.values(), INTERRUPTED, TERMINATED, BROKEN_PIPE}
    for tests in ELSEWHERE.values():
        for test in tests:
            path, _, name = test.partition("::")
            assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), test


@pytest.mark.parametrize(
    ("status", "what", "situation"), SITUATIONS, ids=[f"{status}-{what}" for status, what, _ in SITUATIONS]
)
def test_situation(stage: Stage, status: int, what: str, situation: Situation) -> None:
    result = situation(stage)
    assert result.status == status, result
    validate_run(["--json", "list"], 2, "", result.err)
    assert "Traceback" not in result.err
    if status in (0, BROKEN_PIPE):
        assert result.err == ""
    elif status != EXIT_STATUS["partial"]:
        code = {number: code for code, number in EXIT_STATUS.items()}.get(status, "interrupted")
        assert (result.error["code"], result.error["exit"]) == (code, status)
    assert bool(result.out) == (status == 0 or status in WITH_A_DOCUMENT), result


def test_nothing_of_it_stopped_the_transfer(stage: Stage) -> None:
    """Waits that ended, by time and by signals, ended nothing."""
    assert stage.bob.transfer(stage.slow)["state"] == "downloading"


def test_a_daemon_that_hangs_in_the_middle_of_an_answer(stage: Stage) -> None:
    """A stream has its deadline too; what was written is the beginning."""
    with stage.start(
        stage.bob, "--json", "--timeout", "2", "download", "4.bin", "-o", "-", "--limit", "64K"
    ) as process:
        read = process.stdout
        assert read is not None
        until(lambda: stage.bob.status()["peer"]["streams"], 10.0, "the stream is under way")
        with frozen(stage.bob.pid):
            out, err = process.communicate(timeout=20)
    assert process.returncode == 6
    assert len(out) < SIZE
    assert validate_line(err.splitlines()[-1])["code"] == "timeout"
