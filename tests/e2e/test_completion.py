"""Completion with the Tab key in real shells, names from a real daemon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.processes import Swarm
from tests.fakes.programs import needs
from tests.fakes.shells import COMMANDS, Shell, spy

SETUP = {
    "bash": 'bind "set bell-style none"; PS1="$ "; eval "$(p2pctl completion bash)"',
    "zsh": 'PROMPT="$ "; autoload -U compinit; compinit -u -D; eval "$(p2pctl completion zsh)"',
    "fish": "p2pctl completion fish | source",
}
NAMES = ("my report.txt", "R\u00e9sum\u00e9.pdf", 'quo"te$x', "-dash")


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """A peer that is its own tracker and shares NAMES."""
    with Swarm(tmp_path_factory.mktemp("completion")) as made:
        peer = made.make("peer", "peer", "--with-tracker").start()
        files = made.folder("files")
        for name in NAMES:
            (files / name).write_text(name)
        peer.ok("add", "--", *(files / name for name in NAMES))
        spy(made.directory / "bin")
        yield made


@pytest.mark.parametrize("shell", COMMANDS)
def test_tab(swarm: Swarm, shell: str) -> None:
    needs(shell)
    home = swarm.daemons[0].home
    environ = {
        **swarm.environ,
        "PATH": f"{swarm.directory / 'bin'}:{swarm.environ['PATH']}",
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "P2PD_HOME": str(home),
    }
    with Shell(COMMANDS[shell], environ) as terminal:
        terminal.send(f"{SETUP[shell]}; cd '{swarm.directory}'; echo re''ady\n")
        terminal.expect("ready\r\n")
        for typed, completed, words in (
            ("dow", "nload", ["download"]),
            ("info my", "report", ["info", "my report.txt"]),
            ('info "my', "report", ["info", "my report.txt"]),
            ("info R", "sum", ["info", "R\u00e9sum\u00e9.pdf"]),
            ("remove quo", "te", ["remove", 'quo"te$x']),
            ("info name:-", "dash", ["info", "name:-dash"]),
            ("download x --exists ren", "ame", ["download", "x", "--exists", "rename"]),
            ("add files/my", "report", ["add", "files/my report.txt"]),
            ("--home pe", "r", ["--home", "peer"]),
        ):
            terminal.send(f"p2pctl {typed}")
            terminal.expect(typed[-1])
            terminal.send("\t")
            terminal.expect(completed)
            terminal.send("\n")
            shown = terminal.expect(">.\r\n")
            printed = "".join(f"<{word}>" for word in words)
            assert printed in shown.replace("/>", ">"), (typed, shown)  # zsh takes its slash back
