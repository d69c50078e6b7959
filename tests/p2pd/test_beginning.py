"""`p2pd` alone and `p2pd init` without a terminal: what the settings say, what flags give, and nothing asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from p2pd import app, beginning, config, secrets
from p2pd.cli import main
from protocol.errors import EXIT_STATUS, Fault
from protocol.keys import is_invite
from tests.fakes.schemas import validate


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("P2PD_")]:
        monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name[4]))  # short: sun_path has 107 octets


@pytest.fixture
def file() -> Path:
    path = config.default_config_file()
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def password(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text("correct horse battery\n")
    path.chmod(0o600)
    return str(path)


class TestAlone:
    def test_what_the_settings_say(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text('[daemon]\nrole = "tracker"\n')
        assert beginning.bare() == ["tracker"]
        monkeypatch.setenv("P2PD_DAEMON_ROLE", "peer")
        assert beginning.bare() == ["peer"]
        file.unlink()
        assert beginning.bare() == ["peer"]

    def test_nothing_is_known(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert beginning.bare() is None
        assert main([]) == EXIT_STATUS["usage"]
        told = capsys.readouterr()
        assert told.out == ""
        assert "p2pd tracker" in told.err
        assert "p2pd init" in told.err

    def test_settings_that_do_not_say(self, file: Path) -> None:
        file.write_text("[log]\nlevel = 'info'\n")
        with pytest.raises(Fault) as caught:
            beginning.bare()
        assert caught.value.code == "usage"
        assert "[daemon]" in caught.value.hint

    def test_a_wrong_role_is_told_with_its_line(self, file: Path) -> None:
        file.write_text('[daemon]\n\nrole = "both"\n')
        with pytest.raises(Fault) as caught:
            beginning.bare()
        assert f"{file}:3" in caught.value.message

    def test_it_runs(self, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
        served: list[str] = []
        monkeypatch.setattr(app, "serve", lambda settings, *rest: served.append(settings.role))
        words = ["init", "--role", "peer", "--tracker", "hub", "--password-file", password]
        assert main(words) == 0
        assert main([]) == 0
        assert served == ["peer"]


class TestInit:
    def test_by_flags(self, password: str, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["--role", "peer", "--tracker", "hub", "--listen", "8002", "--password-file", password]
        assert main(["init", *words]) == 0
        file = config.default_config_file()
        assert capsys.readouterr().out == f"Settings are in {file}.\nStart it with: p2pd\n"
        settings = config.load("peer", {}, {})
        assert [str(tracker) for tracker in settings.trackers] == ["hub:9000"]
        assert settings.peer_listen is not None
        assert settings.peer_listen.port == 8002
        assert settings.password_file == ""
        assert secrets.load_ring(settings.home, "default") is not None

    def test_a_new_secret(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["init", "--role", "tracker", "--invite"]) == 0
        (shown,) = (line.strip() for line in capsys.readouterr().out.splitlines() if "p2p1-" in line)
        assert is_invite(shown)
        assert shown not in config.default_config_file().read_text()

    def test_as_a_document(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "there.toml"
        words = [
            "init",
            "--json",
            "--role",
            "tracker",
            "--config",
            str(file),
            "--invite",
            "--home",
            str(tmp_path / "h"),
        ]
        assert main(words) == 0
        document = json.loads(capsys.readouterr().out)
        validate("p2pd init", document)
        [item] = document["items"]
        assert is_invite(item.pop("invite"))
        assert item == {
            "role": "tracker",
            "config_file": str(file),
            "home": str(tmp_path / "h"),
            "old_file": None,
        }
        assert main(words) == EXIT_STATUS["exists"]
        assert json.loads(capsys.readouterr().err)["code"] == "exists"
        assert main([*words, "--force"]) == 0
        assert json.loads(capsys.readouterr().out)["items"][0]["old_file"] == f"{file}.old"

    def test_another_place(
        self,
        tmp_path: Path,
        password: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        words = [
            "init",
            "--role",
            "tracker",
            "--config",
            "a b.toml",
            "--home",
            "h",
            "--password-file",
            password,
        ]
        assert main(words) == 0
        assert f"p2pd tracker --config '{tmp_path}/a b.toml'" in capsys.readouterr().out
        assert f'home = "{tmp_path}/h"' in (tmp_path / "a b.toml").read_text()

    def test_the_place_of_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("P2PD_HOME", str(tmp_path / "h"))
        assert main(["init", "--role", "tracker", "--invite"]) == 0
        assert (tmp_path / "h" / secrets.NETWORK_FILE).exists()

    def test_nothing_is_asked(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["init"]) == EXIT_STATUS["usage"]
        assert "missing: --role" in capsys.readouterr().err
        assert main(["init", "--role", "tracker", "--tracker", "x", "--invite"]) == EXIT_STATUS["usage"]
        assert main(["init", "--role", "peer", "--tracker", "a b", "--invite"]) == EXIT_STATUS["usage"]
        assert not config.default_config_file().exists()
