"""p2pctl rotate: what is sent, what is shown, and what makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.samples import page

NOW = "2026-11-25T18:47:48Z"
END = "2026-12-02T18:47:48Z"
INVITE = "p2p1-" + "a" * 32
ID = "d" * 32


def rotation(**changes: Any) -> dict[str, Any]:
    item = {"state": "overlap", "network": "lab", "epoch": 1, "key_check": "k-00000001", "previous_epoch": 0}
    item |= {
        "previous_key_check": "k-00000000",
        "began_at": NOW,
        "ends_at": END,
        "devices_old": 2,
        "devices_new": 3,
    }
    return {**item, "changed": True, "invite": None, **changes}


def device(**changes: Any) -> dict[str, Any]:
    item: dict[str, Any] = {"epoch": 0, "key_check": "k-00000000"}
    item |= {
        "device_id": ID,
        "host": "10.0.0.1",
        "self": False,
        "state": "old",
        "seen_at": NOW,
        "ends_at": END,
    }
    return {**item, **changes}


@pytest.fixture
def password(tmp_path: Path) -> str:
    path = tmp_path / "new"
    path.write_text("another long password\n")
    path.chmod(0o600)
    return str(path)


def test_a_rotation_begins(daemon: Daemon, p2pctl: Run, password: str) -> None:
    daemon.on["rotate"] = rotation()
    result = p2pctl("rotate", "--password-file", password, "--overlap", "2h", "--epoch", "4")
    assert result.out == f"New key of epoch 1, key check k-00000001\nThe old one stays good until {END}\n"
    assert "every other member" in result.err
    (params,) = daemon.params("rotate")
    assert params == {
        "action": "begin", "password": "another long password", "invite": False, "overlap_s": 7200.0, "epoch": 4,
        "allow_weak": False,
    }  # fmt: skip
    assert p2pctl("--json", "rotate", "--password-file", password).document["items"] == [rotation()]
    assert p2pctl("-q", "rotate", "--password-file", password).out == "1\n"


def test_no_overlap(daemon: Daemon, p2pctl: Run, password: str) -> None:
    daemon.on["rotate"] = rotation(state="none", ends_at=None)
    assert "has ended here" in p2pctl("rotate", "--password-file", password, "--overlap", "0").out
    assert daemon.params("rotate")[0]["overlap_s"] == 0.0


def test_an_invite_is_the_answer(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["rotate"] = rotation(invite=INVITE)
    assert p2pctl("-q", "rotate", "--invite").out == INVITE + "\n"
    result = p2pctl("rotate", "--invite")
    assert result.out.splitlines()[0] == INVITE
    assert "only time" in result.err
    assert daemon.params("rotate")[0]["password"] is None


def test_what_is_so_already(daemon: Daemon, p2pctl: Run, password: str) -> None:
    daemon.on["rotate"] = rotation(changed=False)
    assert "under way already" in p2pctl("rotate", "--password-file", password).out
    result = p2pctl("rotate", "--finish")
    assert (result.status, result.out, result.err) == (0, "", "no rotation is under way\n")


@pytest.mark.parametrize("step", ["finish", "abort"])
def test_the_end(daemon: Daemon, p2pctl: Run, step: str) -> None:
    daemon.on["rotate"] = rotation(state="none")
    assert p2pctl("rotate", f"--{step}").out == "One key again: epoch 1, key check k-00000001\n"
    assert daemon.params("rotate") == [{"action": step}]


def test_who_uses_the_old_one(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["rotate"] = rotation()
    daemon.on["rotate_devices"] = page(device(), device(device_id="e" * 32, self=True, state="new"))
    out = p2pctl("rotate", "--status", "--all").out.splitlines()
    assert out[:3] == [
        "key   epoch 1, key check k-00000001",
        f"old   epoch 0, key check k-00000000, good until {END}",
        "seen  2 with the old key, 3 with the new one",
    ]
    assert out[3].split() == ["HOST", "KEY", "SEEN", "DEVICE"]
    assert out[5].endswith("(this device)")
    assert daemon.params("rotate_devices")[0]["all"] is True
    assert p2pctl("-q", "rotate", "--status").out == f"{ID}\n{'e' * 32}\n"
    assert (
        p2pctl("--tsv", "rotate", "--status").out.splitlines()[0]
        == f"{ID}\t10.0.0.1\tfalse\told\t{NOW}\t{END}"
    )
    assert len(p2pctl("--jsonl", "rotate", "--status").out.splitlines()) == 2


def test_no_rotation(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["rotate"] = rotation(state="none")
    daemon.on["rotate_devices"] = page()
    result = p2pctl("rotate", "--status")
    assert (result.status, "no rotation" in result.err) == (0, True)


@pytest.mark.parametrize(
    "words",
    [
        ["--finish", "--abort"],
        ["--finish", "--overlap", "2h"],
        ["--status", "--epoch", "3"],
        ["--invite", "--all"],
        ["--overlap", "soon", "--invite"],
        ["new-password"],
    ],
)
def test_what_makes_no_sense(daemon: Daemon, p2pctl: Run, words: list[str]) -> None:
    assert p2pctl("rotate", *words).status == 2
    assert daemon.server.requests == []
