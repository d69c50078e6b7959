"""p2pd.layers: who wins, what is wrong where, and what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd import kinds, layers, tomlfile
from p2pd.kinds import Key
from p2pd.layers import Given, Problem
from protocol.errors import Fault

KEYS = {
    "daemon.home": Key("", kinds.path, ""),
    "peer.listen": Key("1", kinds.listen(1), ""),
    "peer.trackers": Key([], kinds.endpoints(1), ""),
    "log.level": Key("info", kinds.choice("info", "debug"), ""),
}


def document(tmp_path: Path, text: str) -> tomlfile.Document:
    path = tmp_path / "f"
    path.write_text(text)
    return tomlfile.read(path)


def test_the_first_layer_that_gives_a_setting_wins() -> None:
    given: dict[str, layers.Layer] = {}
    assert layers.winner(given, "log.level") == ("default", None)
    assert layers.value(given, KEYS, "log.level") == "info"
    for origin in reversed(layers.ORDER):
        given[origin] = {"log.level": Given(origin, "here")}
        assert layers.winner(given, "log.level") == (origin, Given(origin, "here"))
        assert layers.value(given, KEYS, "log.level") == origin


def test_a_file_gives_values_with_their_lines(tmp_path: Path) -> None:
    problems: list[Problem] = []
    found = layers.from_document(document(tmp_path, "[peer]\n\nlisten = '7'\n"), KEYS, problems)
    assert found == {"peer.listen": Given("7", f"{tmp_path}/f:3")}
    assert problems == []


@pytest.mark.parametrize(
    ("text", "line", "words", "hint"),
    [
        ("[peer]\nlistne = '1'", 2, "unknown setting peer.listne", "did you mean peer.listen?"),
        ("[peer]\nlevel = 'info'", 2, "unknown setting peer.level", "did you mean log.level?"),
        ("[peer]\nqqq = 1", 2, "unknown setting peer.qqq", "settings of [peer]: peer.listen, peer.trackers"),
        ("\n[pear]\nlisten = '1'", 2, "unknown section [pear]", "did you mean [peer]?"),
        ("[zzz]", 1, "unknown section [zzz]", "known sections: daemon, log, peer"),
        ("level = 'info'", 1, "'level' stands outside a section", "did you mean log.level?"),
        ("peer = 3", 1, "[peer] must be a section, not 3", "write [peer]"),
        ("[log]\nlevel = 'loud'", 2, "log.level must be one of", ""),
        ("[daemon]\nhome = 'x'", 2, "daemon.home cannot stand in this file", "remove"),
    ],
)
def test_what_is_wrong_in_a_file(tmp_path: Path, text: str, line: int, words: str, hint: str) -> None:
    problems: list[Problem] = []
    assert layers.from_document(document(tmp_path, text), KEYS, problems, {"daemon.home"}) == {}
    (problem,) = problems
    assert problem.where == f"{tmp_path}/f:{line}"
    assert problem.message.startswith(f"{problem.where}: ")
    assert words in problem.message
    assert hint in problem.hint


def test_the_environment() -> None:
    problems: list[Problem] = []
    environ = {
        "P2PD_PEER_TRACKERS": "a,b",
        "P2PD_DAEMON_HOME": "/long",
        "P2PD_HOME": "/short",
        "P2PD_LOG_LEVLE": "debug",
        "P2PD_SIM_SEED": "7",
        "HOME": "/h",
    }
    found = layers.from_environment(environ, KEYS, problems)
    assert found == {
        "peer.trackers": Given(["a", "b"], "P2PD_PEER_TRACKERS"),
        "daemon.home": Given("/short", "P2PD_HOME"),
    }
    assert [(problem.where, problem.hint) for problem in problems] == [
        ("P2PD_LOG_LEVLE", "did you mean P2PD_LOG_LEVEL?")
    ]


def test_flags() -> None:
    problems: list[Problem] = []
    flags = {"log.level": "loud", "peer.trackers": ["t"], "peer.listen": None, "config": "x"}
    found = layers.from_flags(flags, KEYS, problems)
    assert found == {"peer.trackers": Given(["t"], "--tracker")}
    assert [problem.where for problem in problems] == ["--log-level"]
    assert layers.option("daemon.nice") == "--nice"
    assert (
        layers.from_flags({"peer.listen": "2"}, KEYS, problems, {"peer.listen": "-l"})["peer.listen"].where
        == "-l"
    )


def test_one_problem_speaks_for_itself_and_several_are_counted() -> None:
    first, second = Problem("a:1", "k", "a:1: bad", "mend it"), Problem("B", "k", "B: worse")
    single = layers.fault([first])
    assert (single.code, single.message, single.hint) == ("usage", "a:1: bad", "mend it")
    assert layers.fault([first, second]).message == "2 settings are wrong"
    assert layers.fault([first, second]).details["problems"] == [
        {"where": "a:1", "key": "k", "message": "a:1: bad", "hint": "mend it"},
        {"where": "B", "key": "k", "message": "B: worse", "hint": ""},
    ]


def test_a_key_that_there_is_not() -> None:
    assert layers.check_key("log.level", KEYS) is KEYS["log.level"]
    with pytest.raises(Fault) as caught:
        layers.check_key("log.levle", KEYS)
    assert (caught.value.code, caught.value.hint) == ("usage", "did you mean log.level?")
