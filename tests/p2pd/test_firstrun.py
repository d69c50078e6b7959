"""The first run: questions in their order, wrong answers asked again, and nothing written over."""

from __future__ import annotations

import io
import os
import socket
import sys
import tomllib
from pathlib import Path

import pytest

from p2pd import config, firstrun, secrets
from p2pd.firstrun import Plan, ask, given, make
from p2pd.lock import HomeLock
from protocol.errors import Fault
from protocol.keys import is_invite

PASSWORD = "correct horse battery"
OTHER = "another long password"


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("P2PD_")]:
        monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name[4]))  # short: sun_path has 107 octets


@pytest.fixture(scope="module")
def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Person:
    """Answers in order; "\\x04" is Ctrl-D. `asked` has the prompts, a hidden one begins with *."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.told: list[str] = []

    def line(self, prompt: str) -> str:
        self.asked.append(prompt.split(" ")[0])
        answer = self.answers.pop(0)
        if answer == "\x04":
            raise EOFError
        return answer

    def hidden(self, prompt: str) -> str:
        self.told.append(prompt)
        answer = self.line("*" + prompt)
        return answer

    def say(self, text: str) -> None:
        self.told.append(text)


def started(role: str, password: str | None = PASSWORD) -> Plan:
    """A daemon that was set up before, without a file of settings."""
    plan = Plan(role, {}, password)
    make(plan, None)
    return plan


class TestQuestions:
    def test_the_order(self, free_port: str) -> None:
        person = Person(PASSWORD, "p", "hub:9001", free_port)
        plan = ask(person, {})
        assert person.asked == ["*Swarm", "(t)racker", "Tracker", "Peer"]
        assert (plan.role, plan.password) == ("peer", PASSWORD)
        assert plan.values == {"peer.trackers": ["hub:9001"], "peer.listen": free_port}
        assert PASSWORD not in repr(plan)

    def test_a_tracker_is_asked_less(self, free_port: str) -> None:
        person = Person("", "Tracker", free_port)
        plan = ask(person, {})
        assert (plan.role, plan.password, plan.values) == ("tracker", None, {"tracker.listen": free_port})
        assert "make a new random one" in person.told[0]

    def test_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            firstrun, "_try", lambda endpoint: None
        )  # whoever has these ports on this machine
        plan = ask(Person(PASSWORD, "peer", "", ""), {})
        assert plan.values == {"peer.trackers": ["localhost"], "peer.listen": "8001"}
        assert ask(Person(PASSWORD, "t", ""), {}).values == {"tracker.listen": "9000"}

    def test_wrong_answers_are_asked_again_with_the_reason(self, free_port: str) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            busy = f"127.0.0.1:{taken.getsockname()[1]}"
            answers = ("short", "p2p1-wrong", PASSWORD, "x", "", "p", "a b", "hub", "80000", busy, free_port)
            person = Person(*answers)
            plan = ask(person, {})
        assert person.answers == []
        assert plan.values == {"peer.trackers": ["hub"], "peer.listen": free_port}
        told = "\n".join(person.told)
        for reason in (
            "fewer than 12",
            "checksum is wrong",
            "type t for",
            "not an address",
            "already in use",
        ):
            assert reason in told
        assert "short" not in told

    def test_what_is_given_is_not_asked(self) -> None:
        person = Person("p")
        plan = ask(person, {"peer.trackers": ["hub"], "daemon.network": "lab"}, PASSWORD, "8002")
        assert person.asked == ["(t)racker"]
        assert plan.network == "lab"
        assert plan.values["peer.listen"] == "8002"

    def test_leaving_writes_nothing(self, tmp_path: Path) -> None:
        for answers in (["\x04"], [PASSWORD, "\x04"], [PASSWORD, "p", "\x04"], ["", "t", "\x04"]):
            with pytest.raises(EOFError):
                ask(Person(*answers), {})
        assert list(tmp_path.iterdir()) == []

    def test_a_role_that_runs_already(self, free_port: str) -> None:
        plan = started("tracker")
        with HomeLock(plan.home):
            person = Person("", "t", "p", "", free_port)
            assert ask(person, {}).role == "peer"
        assert "use the one of this machine" in person.told[0]
        assert f"a tracker runs already (pid {os.getpid()})" in person.told[1]

    def test_a_password_that_is_not_that_of_the_key(self, free_port: str) -> None:
        started("peer")
        person = Person(OTHER, "p", "", "hub", free_port)
        assert ask(person, {}).password is None
        assert "the key of another password" in "\n".join(person.told)
        assert ask(Person(PASSWORD, "p", "hub", free_port), {}).password == PASSWORD
        assert ask(Person(OTHER, "p", "hub", free_port), {}, force=True).password == OTHER


def test_octets_that_are_no_text_are_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\nhub\n"), "utf-8", "surrogateescape")
    )
    assert firstrun.Terminal().line("Tracker: ") == "hub"
    assert "not UTF-8" in capsys.readouterr().out


class TestGiven:
    def test_all_that_is_missing_is_named(self) -> None:
        with pytest.raises(Fault) as caught:
            given(None, {})
        assert caught.value.code == "usage"
        assert "--role" in caught.value.message
        assert "--password-file" in caught.value.message
        with pytest.raises(Fault) as caught:
            given("peer", {}, PASSWORD)
        assert "--tracker HOST" in caught.value.message

    def test_a_kept_key_is_enough(self) -> None:
        started("tracker")
        assert given("tracker", {}, None, "9001").values == {"tracker.listen": "9001"}

    def test_a_wrong_port(self) -> None:
        with pytest.raises(Fault):
            given("tracker", {}, PASSWORD, "70000")


class TestMaking:
    def test_the_file_says_what_was_answered_and_no_secret(self, tmp_path: Path) -> None:
        file = tmp_path / "new" / "p2pd.toml"
        values = {"peer.trackers": ["hub:1"], "peer.listen": "8002", "daemon.network": "lab"}
        made = make(Plan("peer", values, PASSWORD), file)
        assert (made.file, made.invite, made.trouble) == (file, None, None)
        text = file.read_text()
        assert tomllib.loads(text) == {
            "daemon": {"role": "peer", "network": "lab"},
            "peer": {"trackers": ["hub:1"], "listen": "8002"},
        }
        assert PASSWORD not in text
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
        assert list(file.parent.iterdir()) == [file]
        settings = config.load("peer", {"config": str(file)}, {})
        assert (settings.network, [str(tracker) for tracker in settings.trackers]) == ("lab", ["hub:1"])
        ring = secrets.load_ring(settings.home, "lab")
        assert ring is not None
        assert secrets.is_of(ring, PASSWORD)
        assert PASSWORD.encode() not in (settings.home / secrets.NETWORK_FILE).read_bytes()

    def test_an_invite_is_told_once(self, tmp_path: Path) -> None:
        made = make(Plan("tracker", {}, None), tmp_path / "p2pd.toml")
        assert made.invite is not None
        assert is_invite(made.invite)
        assert made.invite not in repr(made)
        assert make(Plan("tracker", {}, None), None).invite is None

    def test_a_second_daemon_takes_the_key_of_the_first(self) -> None:
        tracker = started("tracker")
        peer = started("peer", None)
        first, second = (secrets.load_ring(plan.home, "default") for plan in (tracker, peer))
        assert first is not None
        assert second is not None
        assert first.current == second.current

    def test_a_file_that_is_there_stays(self, tmp_path: Path) -> None:
        file = tmp_path / "p2pd.toml"
        file.write_text("# mine\n")
        with pytest.raises(Fault) as caught:
            make(Plan("tracker", {}, PASSWORD), file)
        assert caught.value.code == "exists"
        assert file.read_text() == "# mine\n"
        assert not config.default_home("tracker").exists()

    def test_with_force_the_old_one_is_kept(self, tmp_path: Path) -> None:
        file = tmp_path / "p2pd.toml"
        for number, old in enumerate(("p2pd.toml.old", "p2pd.toml.old1")):
            file.write_text(f"# mine {number}\n")
            assert make(Plan("tracker", {}, PASSWORD), file, force=True).moved == tmp_path / old
        assert (tmp_path / "p2pd.toml.old").read_text() == "# mine 0\n"
        assert (tmp_path / "p2pd.toml.old1").read_text() == "# mine 1\n"
        assert 'role = "tracker"' in file.read_text()

    def test_another_key_needs_force(self) -> None:
        plan = started("tracker")
        kept = (plan.home / secrets.NETWORK_FILE).read_bytes()
        for password, new in ((OTHER, False), (None, True)):
            with pytest.raises(Fault) as caught:
                make(Plan("tracker", {}, password), None, new=new)
            assert caught.value.code == "exists"
        assert (plan.home / secrets.NETWORK_FILE).read_bytes() == kept
        make(Plan("tracker", {}, PASSWORD), None)
        assert (plan.home / secrets.NETWORK_FILE).read_bytes() == kept
        make(Plan("tracker", {}, OTHER), None, force=True)
        ring = secrets.load_ring(plan.home, "default")
        assert ring is not None
        assert secrets.is_of(ring, OTHER)

    def test_a_new_secret_is_not_lost_with_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        made = make(Plan("tracker", {}, None), tmp_path / "file" / "p2pd.toml")
        assert made.invite is not None
        assert made.file is None
        assert made.trouble is not None
        assert made.trouble.code == "storage"

    def test_not_under_a_daemon_that_runs(self) -> None:
        plan = started("tracker")
        with HomeLock(plan.home), pytest.raises(Fault) as caught:
            make(plan, None)
        assert caught.value.code == "refused"


def test_the_words_that_mean_the_same() -> None:
    values = {
        "peer.trackers": ["a", "b:2"],
        "peer.listen": "8002",
        "daemon.network": "lab",
        "daemon.home": "/h",
    }
    words = Plan("peer", values, None).words()
    assert words == [
        "peer", "--home", "/h", "--network", "lab", "--listen", "8002", "--tracker", "a", "--tracker", "b:2",
    ]  # fmt: skip
    assert Plan("peer", {"peer.with_tracker": True}, None).words() == ["peer", "--with-tracker"]
