"""p2pd/cli.py: words in, settings out, and an exit status for whatever is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2pd import app, config
from p2pd.cli import main, parser
from p2pd.lock import HomeLock
from p2pd.net.keyring import Ring
from p2pd.supervision import Supervision
from protocol.errors import EXIT_STATUS, Fault
from protocol.keys import DeviceKey, is_invite
from protocol.version import VERSION
from tests.fakes.schemas import validate

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories of this test, and none of the caller's settings."""
    for name in list(os.environ):
        if name.startswith("P2PD_"):
            monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == EXIT_STATUS["usage"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "p2pd tracker" in shown.err


def items(command: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The items of the document that was printed, which keeps its schema."""
    document = json.loads(capsys.readouterr().out)
    validate(f"p2pd {command}", document)
    found: list[dict[str, Any]] = document["items"]
    return found


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"p2pd {VERSION}\n"
    assert main(["version", "--json"]) == 0
    assert items("version", capsys)[0]["version"] == VERSION
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"p2pd {VERSION}\n"


def test_every_invite_is_another_and_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invite"]) == main(["invite"]) == 0
    first, second = capsys.readouterr().out.split()
    assert first != second
    assert main(["invite", "--json"]) == 0
    assert is_invite(items("invite", capsys)[0]["invite"])
    assert is_invite(first)
    assert is_invite(second)


def test_paths_need_no_tracker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paths", "--home", str(tmp_path), "--json"]) == 0
    [paths] = items("paths", capsys)
    assert paths["home"] == str(tmp_path)
    assert paths["socket"] == str(tmp_path / "control.sock")
    assert set(paths) == {"config", "home", "socket", "device_key", "network_key", "database", "overlay"}
    assert main(["paths", "--role", "tracker"]) == 0
    assert "tracker.db" in capsys.readouterr().out


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p2pd.toml"
    file.write_text('[peer]\ntrackers = ["t"]\n')
    assert main(["check", "--config", str(file), "--json"]) == 0
    assert items("check", capsys) == [{"ok": True, "role": "peer", "config_file": str(file)}]
    file.write_text('[peer]\ntracker = ["t"]\n')
    assert main(["check", "--config", str(file)]) == EXIT_STATUS["usage"]
    told = capsys.readouterr()
    assert told.out == ""
    assert "peer.tracker" in told.err
    assert "hint: did you mean peer.trackers?" in told.err
    assert main(["check"]) == EXIT_STATUS["usage"]
    assert main(["check", "--role", "tracker"]) == 0


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["peer", "--nonsense"], ["peer", "--password-fd", "x"], ["tracker", "--tracker", "t"],
     ["peer", "--password-file", "a", "--password-fd", "3"]],
)  # fmt: skip
def test_words_that_are_wrong(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == EXIT_STATUS["usage"]
    told = capsys.readouterr().err
    assert told.startswith("p2pd: ")
    assert "--help" in told


def test_every_option_of_a_daemon_is_a_key_of_the_settings() -> None:
    for role in ("peer", "tracker"):
        flags = vars(parser().parse_args([role]))
        unknown = (
            set(flags) - set(config.KEYS) - {"command", "config", "password_fd", "ask_password", "epoch"}
        )
        assert not unknown
        assert all(value is None for name, value in flags.items() if name in config.KEYS)


def test_flags_reach_the_settings() -> None:
    words = [
        "peer",
        "--tracker",
        "a",
        "--tracker",
        "b:2",
        "--no-share-downloads",
        "--listen",
        "5",
        "--network",
        "n",
    ]
    settings = config.load("peer", vars(parser().parse_args(words)), {})
    assert [str(tracker) for tracker in settings.trackers] == ["a:9000", "b:2"]
    assert (settings.share_downloads, settings.network) == (False, "n")
    both = config.load(
        "peer", vars(parser().parse_args(["peer", "--with-tracker", "--tracker-listen", "7"])), {}
    )
    assert both.tracker_listen is not None
    assert both.tracker_listen.port == 7


class Served:
    """Stands in for the daemon: keeps what it was started with."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls: list[tuple[config.Settings, Ring, DeviceKey, DeviceKey]] = []
        self.error = error

    def __call__(
        self,
        settings: config.Settings,
        secret: Ring,
        device: DeviceKey,
        tracker_device: DeviceKey,
        supervision: Supervision,
    ) -> None:
        assert supervision.tuning.settings == settings
        self.calls.append((settings, secret, device, tracker_device))
        with pytest.raises(Fault) as caught, HomeLock(settings.home):
            pass
        assert caught.value.code == "refused"
        if self.error is not None:
            raise self.error


@pytest.fixture
def password(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text("correct horse battery\n")
    path.chmod(0o600)
    return str(path)


def test_a_daemon_gets_its_keys_and_holds_its_home(
    tmp_path: Path, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served()
    monkeypatch.setattr(app, "serve", served)
    home = tmp_path / "home"
    words = ["peer", "--tracker", "t", "--home", str(home)]
    assert main([*words, "--password-file", password]) == 0
    # the key is kept: no password is needed the next time
    assert main(words) == 0
    (_, secret, device, tracker_device), (_, again, same, _) = served.calls
    assert (secret, device.device_id) == (again, same.device_id)
    assert device is tracker_device
    with HomeLock(home):
        pass


def test_a_tracker_in_a_peer_is_a_device_of_its_own(
    tmp_path: Path, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served()
    monkeypatch.setattr(app, "serve", served)
    assert main(["peer", "--with-tracker", "--home", str(tmp_path / "h"), "--password-file", password]) == 0
    ((_, _, device, tracker_device),) = served.calls
    assert device.device_id != tracker_device.device_id


def test_what_ends_a_daemon_is_its_exit_status(
    tmp_path: Path, password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tracker", "--home", str(tmp_path / "h"), "--password-file", password]
    monkeypatch.setattr(app, "serve", Served(Fault("network", "port taken", "another one")))
    assert main(words) == EXIT_STATUS["network"]
    told = capsys.readouterr().err
    assert "p2pd: port taken\n  hint: another one\n" in told
    monkeypatch.setattr(app, "serve", Served(KeyboardInterrupt()))
    assert main(words) == 130


def test_a_weak_password_and_a_home_in_use_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weak = tmp_path / "weak"
    weak.write_text("short")
    weak.chmod(0o600)
    home = tmp_path / "h"
    words = ["tracker", "--home", str(home), "--password-file", str(weak)]
    assert main(words) == EXIT_STATUS["usage"]
    with HomeLock(home):
        assert main(words) == EXIT_STATUS["refused"]
    assert "another p2pd" in capsys.readouterr().err


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "p2pd", "version"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"p2pd {VERSION}\n", "")
