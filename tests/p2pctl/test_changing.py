"""p2pctl/changing.py: pause, resume, retry and cancel with IDs, with --all, and when there is nothing to do."""

from __future__ import annotations

from typing import Any

import pytest

from p2pctl.commands import cancel, pause, resume, retry
from p2pctl.commands.transfers import STATES
from protocol.control import FINAL_STATES
from protocol.errors import Fault
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.samples import page

COMMANDS = ["pause", "resume", "retry", "cancel"]


@pytest.mark.parametrize("command", COMMANDS)
class TestChange:
    def test_what_was_so_already_is_a_note(self, daemon: Daemon, p2pctl: Run, command: str) -> None:
        daemon.on[command] = samples.transfer(changed=False)
        got = p2pctl(command, "t-1")
        assert (got.status, got.out, got.err) == (0, "", "p2pctl: t-1 (example.txt) had ended: done\n")
        got = p2pctl("--json", command, "t-1")
        assert (got.status, got.document["items"][0]["changed"], len(got.document["warnings"])) == (
            0,
            False,
            1,
        )
        got = p2pctl("-q", command, "t-1")
        assert (got.status, got.out, got.err) == (0, "t-1\n", "")

    def test_what_can_be_done_about_it(self, daemon: Daemon, p2pctl: Run, command: str) -> None:
        daemon.on[command] = samples.begun(state="paused", changed=False)
        assert "p2pctl resume t-1" in p2pctl(command, "t-1").err
        daemon.on[command] = samples.begun(state="failed", changed=False)
        assert "p2pctl retry t-1" in p2pctl(command, "t-1").err

    def test_all(self, daemon: Daemon, p2pctl: Run, command: str) -> None:
        daemon.on["transfers"] = page(samples.begun(transfer="t-9"), samples.begun(transfer="t-2"))
        daemon.on[command] = lambda request, send: samples.begun(changed=True, **request.params)
        got = p2pctl("-q", command, "--all")
        assert got.status == 0
        newest_first = command in ("pause", "cancel")
        assert got.out.split() == (["t-9", "t-2"] if newest_first else ["t-2", "t-9"])
        (asked,) = daemon.params("transfers")
        assert set(asked["states"]) <= set(STATES)
        assert ("paused" in asked["states"]) == (command in ("resume", "cancel"))
        assert ("failed" in asked["states"]) == (command == "retry")

    def test_all_of_nothing(self, daemon: Daemon, p2pctl: Run, command: str) -> None:
        daemon.on["transfers"] = page()
        got = p2pctl(command, "--all")
        assert (got.status, got.out, got.err) == (0, "", f"nothing to {command}\n")
        assert p2pctl("--json", command, "--all").document["items"] == []

    def test_words_that_do_not_fit(self, daemon: Daemon, p2pctl: Run, command: str) -> None:
        assert p2pctl(command).status == 2
        assert p2pctl(command, "--all", "t-1").status == 2

    def test_one_of_several_fails(self, daemon: Daemon, p2pctl: Run, command: str) -> None:
        def answer(request: Any, send: Any) -> dict[str, Any]:
            if request.params["transfer"] == "t-2":
                raise Fault("not_found", "no transfer 't-2'")
            return samples.begun(changed=True)

        daemon.on[command] = answer
        got = p2pctl("--json", command, "t-1", "t-2")
        assert (got.status, got.document["failed"][0]["subject"]) == (12, "t-2")


def test_each_means_states_that_there_are() -> None:
    for module in (pause, resume, retry, cancel):
        assert set(module.CHANGE.states) <= set(STATES)
    assert {*cancel.CHANGE.states, *FINAL_STATES} >= set(STATES)
