"""p2pd/config.py: flag over environment over file over default, and a word for everything that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from p2pd import config
from p2pd.config import KEYS, Settings, check_trackers, default_config_file, default_home, load
from p2pd.net.addresses import Endpoint
from protocol.errors import Fault


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories of this test."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def peer(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    return load("peer", {"peer.trackers": ["t"], **(flags or {})}, environ or {})


def fault(
    role: str = "peer", flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Fault:
    with pytest.raises(Fault) as caught:
        load(role, flags or {}, environ or {})
    assert caught.value.code == "usage"
    return caught.value


def test_defaults_of_a_peer(tmp_path: Path) -> None:
    settings = peer()
    assert settings.home == default_home("peer") == tmp_path / "xdg_state_home/p2pd/peer"
    assert settings.socket == settings.home / "control.sock"
    assert (settings.network, settings.peer_listen) == ("default", Endpoint("", 8001))
    assert settings.trackers == (Endpoint("t", 9000),)
    assert (settings.tracker_listen, settings.peer_announce, settings.config_file) == (None, None, None)
    assert (settings.share_downloads, settings.log_level, settings.log_format) == (True, "info", "text")


def test_defaults_of_a_tracker() -> None:
    settings = load("tracker", {}, {})
    assert settings.home == default_home("tracker") != default_home("peer")
    assert (settings.tracker_listen, settings.peer_listen, settings.trackers) == (
        Endpoint("", 9000),
        None,
        (),
    )
    check_trackers(settings)


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "p2pd.toml"
    file.write_text(
        '[peer]\nlisten = "1001"\nshare_downloads = false\n[log]\nlevel = "debug"\n[daemon]\nnetwork = "f"\n'
    )
    environ = {"P2PD_PEER_LISTEN": "1002", "P2PD_LOG_LEVEL": "error", "P2PD_CONFIG": "/missing"}
    settings = peer({"config": str(file), "peer.listen": "1003", "log.level": None}, environ)
    assert settings.peer_listen == Endpoint("", 1003)
    assert settings.log_level == "error"
    assert settings.network == "f"
    assert settings.share_downloads is False
    assert settings.config_file == file


def test_the_users_file_is_found_in_its_place() -> None:
    path = default_config_file()
    path.parent.mkdir(parents=True)
    path.write_text('[peer]\ntrackers = ["a", "b:1234"]\n')
    settings = load("peer", {}, {})
    assert settings.trackers == (Endpoint("a", 9000), Endpoint("b", 1234))
    assert settings.config_file == path


def test_lists_and_flags_in_the_environment() -> None:
    settings = load("peer", {}, {"P2PD_PEER_TRACKERS": "a, b:1,,", "P2PD_PEER_SHARE_DOWNLOADS": "OFF"})
    assert settings.trackers == (Endpoint("a", 9000), Endpoint("b", 1))
    assert settings.share_downloads is False


@pytest.mark.parametrize("variable", ["P2PD_HOME", "P2PD_DAEMON_HOME"])
def test_a_home_of_ones_own(variable: str) -> None:
    settings = peer({}, {variable: "/somewhere"})
    assert (settings.home, settings.socket) == (Path("/somewhere"), Path("/somewhere/control.sock"))
    assert peer({"daemon.home": "~/x"}).home == Path.home() / "x"
    assert peer({"daemon.home": "x"}).home == Path.cwd() / "x"
    assert peer({"daemon.socket": "/s"}).socket == Path("/s")


def test_a_peer_with_a_tracker_dials_its_own() -> None:
    assert load("peer", {"peer.with_tracker": True}, {}).trackers == (Endpoint("127.0.0.1", 9000),)
    settings = load("peer", {"peer.with_tracker": True, "tracker.listen": "10.0.0.1:7"}, {})
    assert settings.trackers == (settings.tracker_listen,) == (Endpoint("10.0.0.1", 7),)
    assert peer({"peer.with_tracker": True}).trackers == (Endpoint("t", 9000),)


def test_a_peer_needs_a_tracker() -> None:
    with pytest.raises(Fault) as caught:
        check_trackers(load("peer", {}, {}))
    assert caught.value.code == "usage"
    assert "--with-tracker" in caught.value.hint


def test_an_announced_address() -> None:
    assert peer({"peer.announce": "host"}).peer_announce == Endpoint("host", 8001)
    assert peer({"peer.announce": "host:5", "peer.listen": "6"}).peer_announce == Endpoint("host", 5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[peer]\nlissten = '1'", ["peer.lissten", "peer.listen"]),
        ("[peer]\nlisten = 8001", ["peer.listen", "text"]),
        ("[peer]\nshare_downloads = 'maybe'", ["peer.share_downloads", "true or false"]),
        ("[peer]\ntrackers = [1]", ["peer.trackers", "list"]),
        ("[log]\nlevel = 'loud'", ["log.level", "debug"]),
        ("listen = '1'", ["outside a section"]),
        ("[zzz]\nqqq = 1", [":1: ", "[zzz]", "known sections"]),
        ("[peer]\n\nlissten = '1'", ["p2pd.toml:3: "]),
        ("[daemon]\nhome = 'x'\nhome = 'y'", ["p2pd.toml:3: "]),
        ("[peer", ["p2pd.toml"]),
        ("\udcff", ["p2pd.toml"]),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "p2pd.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    told = fault(flags={"config": str(file)})
    for word in words:
        assert word in told.message + told.hint


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "p2pd.toml"
    file.write_text("[peer]\nlisten = '1:2:3'\nmax_downloads = 0\n\n[pear]\nx = 1\n")
    home = tmp_path / "home"
    home.mkdir()
    (home / "overlay.toml").write_text("[log]\nlevel = 'loud'\n[daemon]\nhome = '/'\n")
    told = fault(
        flags={"config": str(file), "daemon.home": str(home), "limit.up": "fast"},
        environ={"P2PD_LOG_FROMAT": "json", "P2PD_LOG_FORMAT": "xml"},
    )
    problems = told.details["problems"]
    assert isinstance(problems, list)
    assert [(problem["where"], problem["key"]) for problem in problems] == [
        ("--limit-up", "limit.up"),
        ("P2PD_LOG_FORMAT", "log.format"),
        ("P2PD_LOG_FROMAT", "P2PD_LOG_FROMAT"),
        (f"{file}:2", "peer.listen"),
        (f"{file}:3", "peer.max_downloads"),
        (f"{file}:5", "pear"),
        (f"{home}/overlay.toml:2", "log.level"),
        (f"{home}/overlay.toml:4", "daemon.home"),
    ]
    assert told.message == "8 settings are wrong"


def test_the_overlay_of_the_home_is_between_environment_and_file(tmp_path: Path) -> None:
    file = tmp_path / "p2pd.toml"
    file.write_text(f"[daemon]\nhome = '{tmp_path}'\n[peer]\nlisten = '1'\nmax_downloads = 1\n")
    (tmp_path / "overlay.toml").write_text(
        "[peer]\nlisten = '2'\nmax_downloads = 2\nshare_downloads = false\n"
    )
    sources = config.gather("peer", {"config": str(file)}, {"P2PD_PEER_MAX_DOWNLOADS": "3"})
    settings = config.compose(sources)
    assert settings.peer_listen == Endpoint("", 2)
    assert (settings.max_downloads, settings.share_downloads) == (3, False)
    assert sources.home == tmp_path
    (tmp_path / "overlay.toml").write_text("[peer]\nlisten = '5'\n")
    assert config.compose(sources.again()).peer_listen == Endpoint("", 5)
    assert config.compose(sources.with_overlay({})).peer_listen == Endpoint("", 1)


def test_the_overlay_of_a_wrong_home_is_not_looked_at() -> None:
    told = fault(flags={"daemon.home": "~nobody-of-this-name/x"})
    assert len(told.details["problems"]) == 1  # type: ignore[arg-type]


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    assert "--config" in fault(flags={"config": str(tmp_path / "missing")}).hint
    fault(environ={"P2PD_CONFIG": str(tmp_path)})


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({"peer.listen": "1:2:3"}, ""),
        ({"peer.listen": "70000"}, ""),
        ({"peer.trackers": ["a:b"]}, ""),
        ({"log.level": "loud"}, "--log-level"),
        ({"daemon.network": ""}, "network"),
        ({"daemon.network": "n" * 65}, "network"),
        ({"daemon.network": "\udcff"}, "network"),
        ({"daemon.home": "/" + "h" * 100}, "--socket"),
        ({"peer.announce": ":"}, ""),
        ({"daemon.home": "~nobody-of-this-name/x"}, "no such user"),
    ],
)
def test_values_that_are_wrong(flags: dict[str, Any], word: str) -> None:
    told = fault(flags={"peer.trackers": ["t"], **flags})
    assert word in told.message + told.hint


def test_a_bad_variable_is_named() -> None:
    assert "P2PD_PEER_WITH_TRACKER" in fault(environ={"P2PD_PEER_WITH_TRACKER": "perhaps"}).message


def test_every_key_has_a_default_that_fits_and_words() -> None:
    for name, key in KEYS.items():
        assert key.read(key.default, name) == key.default
        assert key.help
    assert set(Settings.__dataclass_fields__) >= {"role", "home", "socket"}
    assert config.MAX_SOCKET_PATH == 107


@pytest.mark.parametrize(
    ("text", "octets"),
    [("0", 0), ("5", 5), ("64M", 64 << 20), ("1k", 1024), ("2GiB", 2 << 30), ("1TB", 1 << 40)],
)
def test_sizes(text: str, octets: int) -> None:
    assert load("peer", {"peer.free_floor": text}, {}).free_floor == octets


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "M", "9" * 20, True, "64 M"])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(Fault) as caught:
        load("peer", {"peer.free_floor": text}, {})
    assert caught.value.code == "usage"


@pytest.mark.parametrize("value", [0, 1001, "x", "-1", 1.5, True])
def test_what_is_no_count(value: object) -> None:
    with pytest.raises(Fault) as caught:
        load("peer", {"peer.max_downloads": value}, {})
    assert "1 to 1000" in caught.value.message


def test_how_much_it_gives_way() -> None:
    assert load("peer", {}, {}).nice == 10
    assert load("tracker", {}, {"P2PD_DAEMON_NICE": "0"}).nice == 0
    with pytest.raises(Fault):
        load("peer", {}, {"P2PD_DAEMON_NICE": "20"})


def test_how_many_run_at_a_time() -> None:
    assert load("peer", {}, {"P2PD_PEER_MAX_DOWNLOADS": "3"}).max_downloads == 3
