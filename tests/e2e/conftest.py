"""What the end-to-end tests share: an empty swarm that is cleaned up, proxies that end with their test, a stage for many runs of p2pctl."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2pctl import cli
from tests.e2e.proxy import Proxy
from tests.fakes.processes import Daemon, Result, Swarm, make_file
from tests.fakes.schemas import validate_run

SHAPES = ("--json", "--jsonl", "--tsv", "-q", "")
Main = Callable[..., Result]


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    """A swarm without members."""
    with Swarm(tmp_path) as made:
        yield made


@pytest.fixture
def make_proxy() -> Iterator[Callable[..., Proxy]]:
    """Makes proxies (see Proxy); all end with the test."""
    made: list[Proxy] = []

    def make(**how: float | bool) -> Proxy:
        made.append(Proxy(**how))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Daemon]]:
    """alice, a peer with a tracker, and bob."""
    with Swarm(tmp_path_factory.mktemp("contract")) as swarm:
        alice = swarm.make("alice", "peer", "--with-tracker").start()
        yield {"alice": alice, "bob": swarm.peer("bob", alice).connected()}


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes]) -> Main:
    """p2pctl in this process; everything it prints for programs is validated."""

    def main(daemon: Daemon, *words: str) -> Result:
        capsysbinary.readouterr()
        status = cli.main(["--home", str(daemon.home), *words])
        captured = capsysbinary.readouterr()
        result = Result(status, captured.out.decode("utf-8", "surrogateescape"), captured.err.decode())
        validate_run(list(words), *vars(result).values())
        return result

    return main


@pytest.fixture(scope="module")
def shared(stage: dict[str, Daemon]) -> dict[str, Daemon]:
    """alice shares files in a directory with a strange name, and a folder; bob has one of them."""
    alice, bob = stage.values()
    directory = alice.home.parent / "tab\there\nand \\ there"
    (directory / "tree").mkdir(parents=True)
    for number in range(3):
        alice.ok("add", make_file(directory / f"shared {number}.bin", 1000 + number, seed=number))
    make_file(directory / "tree/leaf", 77)
    alice.ok("add", "-r", directory / "tree")
    bob.connected().ok("download", "shared 1.bin", "-o", directory)
    return stage
