"""`p2pd check` and `p2pd paths`: for people and for programs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from p2pd import config, firstrun, telling
from protocol.errors import Fault
from tests.fakes.schemas import validate


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("P2PD_")]:
        monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name[4]))  # short: sun_path has 107 octets


def said(capsys: pytest.CaptureFixture[str], command: str, role: str | None = None, **how: bool) -> str:
    as_json = how.get("as_json", False)
    assert telling.run(command, role, {}, os.environ, as_json=as_json) == 0
    out = capsys.readouterr().out
    if as_json:
        validate(f"p2pd {command}", json.loads(out))
    return out


def item(text: str) -> dict[str, str]:
    """The only one of a document."""
    [found] = json.loads(text)["items"]
    return dict(found)


def test_the_role_is_that_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert item(said(capsys, "paths", as_json=True))["database"].endswith("peer.db")
    firstrun.make(firstrun.Plan("tracker", {}, None), config.default_config_file())
    assert item(said(capsys, "paths", as_json=True))["database"].endswith("tracker.db")
    assert item(said(capsys, "check", as_json=True))["role"] == "tracker"
    assert item(said(capsys, "paths", "peer", as_json=True))["database"].endswith("peer.db")


def test_paths_that_are_not_there_yet(capsys: pytest.CaptureFixture[str]) -> None:
    firstrun.make(firstrun.Plan("tracker", {}, None), config.default_config_file())
    lines = dict(line.split(maxsplit=1) for line in said(capsys, "paths").splitlines())
    assert lines["network_key"] == str(config.default_home("tracker") / "network.key")
    assert lines["database"].endswith("tracker.db  (not there yet)")


def test_good_settings(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"peer.trackers": ["hub"], "peer.listen": "127.0.0.1:8002", "peer.with_tracker": True}
    firstrun.make(firstrun.Plan("peer", values, None), config.default_config_file())
    assert said(capsys, "check").splitlines() == [
        f"The settings are good: peer, from {config.default_config_file()}",
        "  tracker listens on port 9000",
        "  peer listens on 127.0.0.1:8002",
        "  trackers: hub:9000",
        f"  home: {config.default_home('peer')}",
        "  password: its key is kept",
    ]
    assert "asked for at the first start" in said(capsys, "check", "tracker")


def test_where_the_password_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("correct horse battery\n")
    monkeypatch.setenv("P2PD_PASSWORD_FILE", str(file))
    for mode, wrong in ((0o644, "others can read"), (0o600, "")):
        file.chmod(mode)
        if wrong:
            with pytest.raises(Fault, match=wrong):
                said(capsys, "check", "tracker")
        else:
            assert f"password: from {file}" in said(capsys, "check", "tracker")
    file.unlink()
    with pytest.raises(Fault, match="cannot read the password file"):
        said(capsys, "check", "tracker")
    monkeypatch.delenv("P2PD_PASSWORD_FILE")
    home = config.default_home("tracker")
    home.mkdir(parents=True)
    (home / "network.key").write_text("{}")
    (home / "network.key").chmod(0o600)
    assert "is damaged" in said(capsys, "check", "tracker")


def test_a_peer_without_a_tracker_is_wrong() -> None:
    with pytest.raises(Fault) as caught:
        telling.run("check", "peer", {}, {}, as_json=True)
    assert "needs a tracker" in caught.value.message


def test_what_the_settings_name_and_is_not_there_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, plain = tmp_path / "good", tmp_path / "plain"
    for path, mode in ((good, 0o755), (plain, 0o644)):
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
    monkeypatch.setenv("P2PD_PEER_TRACKERS", "hub")
    gone = tmp_path / "gone"
    for program, why in (
        (good, None),
        (gone, "does not exist"),
        (plain, "cannot be run: it is not executable for this user"),
        (tmp_path, "is not a file"),
    ):
        monkeypatch.setenv("P2PD_HOOKS_DOWNLOAD_FAILED", f"{program} now")
        warned = json.loads(said(capsys, "check", as_json=True))["warnings"]
        assert warned == ([f"hooks.download_failed: {program} {why}"] if why else [])
    assert telling.run("check", "tracker", {}, os.environ, as_json=False) == 0
    assert capsys.readouterr().err == "", "a tracker runs no hooks"
    monkeypatch.delenv("P2PD_HOOKS_DOWNLOAD_FAILED")

    home = config.default_home("peer")
    for name, missing in (("p2pd.log", None), ("logs/p2pd.log", home / "logs"), (f"{gone}/x", gone)):
        monkeypatch.setenv("P2PD_LOG_FILE", name)
        assert telling.run("check", "peer", {}, os.environ, as_json=False) == 0
        printed = capsys.readouterr()
        assert printed.out.startswith("The settings are good")
        text = f"p2pd: warning: log.file: {missing} is not a directory that is there; p2pd does not make it\n"
        assert printed.err == (text if missing else "")
    (home / "logs").mkdir(parents=True)
    monkeypatch.setenv("P2PD_LOG_FILE", "logs/p2pd.log")
    assert json.loads(said(capsys, "check", as_json=True))["warnings"] == []
