"""p2pctl completion: the scripts, and the answers that they ask for."""

from __future__ import annotations

import pytest

from p2pctl.commands.completion import SHELLS, script
from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.samples import page


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_the_answer(shell: str, p2pctl: Run) -> None:
    outcome = p2pctl("completion", shell)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == script(shell)
    assert f"--answer {shell}" in outcome.out
    assert p2pctl("--json", "completion", shell).document["items"] == [
        {"shell": shell, "script": outcome.out}
    ]


@pytest.mark.parametrize("words", [["csh"], [], ["bash", "list"]])
def test_what_makes_no_sense(words: list[str], p2pctl: Run) -> None:
    outcome = p2pctl("completion", *words)
    assert (outcome.status, outcome.out) == (2, "")


def item(name: str) -> dict[str, object]:
    return {"value": name, "id": "ab" * 32, "name": name, "size_bytes": 1}


def test_an_answer_for_each_shell(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["complete"] = page(item("my report"), item("evil\u202e\x1b[2J"))
    for shell, words in (("zsh", ("download", "my")), ("fish", ("download", "my"))):
        assert p2pctl("completion", "--answer", shell, "--", *words).out == "\nmy report\t1 B\n"
    assert p2pctl("completion", "--answer", "bash", "--", "p2pctl download my").out == "\nmy\\ report\n"


def test_options_are_words_to_complete_not_options_of_the_command(p2pctl: Run) -> None:
    assert p2pctl("completion", "--answer", "zsh", "--", "list", "--tim").out.startswith("\n--timeout\t")


def test_the_shell_completes_paths(p2pctl: Run) -> None:
    assert p2pctl("completion", "--answer", "zsh", "--", "add", "").out == "files\n"
    assert p2pctl("completion", "--answer", "bash", "--", "p2pctl --home ").out == "directories\n"


def test_the_daemon_of_the_line_is_asked(
    daemon: Daemon, p2pctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("P2PCTL_SOCKET")
    daemon.on["complete"] = page(item("name"))
    line = f"p2pctl --socket {daemon.server.path} info "
    assert p2pctl("completion", "--answer", "bash", "--", line).out == "\nname\n"


def test_without_a_daemon_there_is_no_noise(p2pctl: Run) -> None:
    outcome = p2pctl("completion", "--answer", "zsh", "--", "download", "x")
    assert (outcome.status, outcome.out, outcome.err) == (0, "\n", "")
