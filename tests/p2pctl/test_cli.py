"""The front door: the table, help, wrong command lines, and how every kind of end becomes a status."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from p2pctl import cli
from protocol.errors import EXIT_STATUS, Fault
from protocol.version import VERSION
from tests.p2pctl.conftest import Daemon, Run

ALL = sorted(cli.summaries())


def test_each_module_is_in_the_table_and_each_entry_has_a_module() -> None:
    directory = Path(cli.__file__).parent / "commands"
    modules = {path.stem for path in directory.glob("*.py")} - {"__init__"}
    assert set(ALL) == modules


@pytest.mark.parametrize("command", ALL)
@pytest.mark.parametrize("form", ["help COMMAND", "COMMAND --help", "-h COMMAND", "--json COMMAND bogus -h"])
def test_help_asked_for(p2pctl: Run, command: str, form: str) -> None:
    """Also without the arguments the command needs."""
    got = p2pctl(*form.replace("COMMAND", command).split())
    assert (got.status, got.err) == (0, "")
    assert got.out.startswith(f"usage: p2pctl {command} [OPTION]...")
    assert "examples:\n  p2pctl " in got.out or f"p2pctl -q {command}" in got.out
    assert cli.summaries()[command][1:] in got.out


@pytest.mark.parametrize("argv", [["help"], ["--help"], ["-h"], ["--json", "-h"]])
def test_the_overview(p2pctl: Run, argv: list[str]) -> None:
    got = p2pctl(*argv)
    assert (got.status, got.err) == (0, "")
    for command, summary in cli.summaries().items():
        assert f"{command:<10} {summary}" in got.out


def test_the_overview_provoked(p2pctl: Run) -> None:
    got = p2pctl()
    assert (got.status, got.out) == (2, "")
    assert got.err == cli.overview()


def test_no_command_for_a_machine(p2pctl: Run) -> None:
    assert p2pctl("--json").error["code"] == "usage"


def test_help_as_a_document(p2pctl: Run) -> None:
    document = p2pctl("--json", "help").document
    assert document["schema"] == "p2p.help/1"
    assert [item["command"] for item in document["items"]] == list(cli.summaries())
    assert p2pctl("--tsv", "help", "all-files").out.startswith("all_files\t")


def test_help_of_an_unknown_command(p2pctl: Run) -> None:
    assert p2pctl("help", "lst").err == (
        "p2pctl: there is no command 'lst'\n  hint: did you mean: p2pctl list\n"
    )


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["serch", "x"], "did you mean: p2pctl search"),
        (["all-file"], "did you mean: p2pctl all"),
        (["xyzzy"], "p2pctl help lists"),
    ],
)
def test_an_unknown_command(p2pctl: Run, argv: list[str], hint: str) -> None:
    got = p2pctl(*argv)
    assert (got.status, got.out) == (2, "")
    assert hint in got.err


@pytest.mark.parametrize(
    "argv",
    [
        ["list", "--bogus"],
        ["list", "surplus"],
        ["add"],
        ["search", "x", "--limit", "0"],
        ["search", "x", "--min-size", "big"],
        ["download", "x", "--exists", "maybe"],
        ["ping", "--timeout", "soon"],
        ["list", "--columns", "id"],
        ["--limit", "5", "list"],
        ["--socket"],
    ],
)
def test_a_wrong_command_line(p2pctl: Run, argv: list[str]) -> None:
    got = p2pctl(*argv)
    assert (got.status, got.out) == (2, "")
    assert got.err.startswith("p2pctl: ") or argv == ["--socket"]
    for flag in ("--json", "--jsonl"):
        error = p2pctl(flag, *argv).error
        assert (error["schema"], error["code"], error["exit"]) == ("p2p.error/1", "usage", 2)
        assert p2pctl(*argv, flag).error["code"] == "usage"


@pytest.mark.parametrize("code", [code for code in EXIT_STATUS if code != "ok"])
def test_every_fault_of_the_daemon_is_its_status(daemon: Daemon, p2pctl: Run, code: str) -> None:
    daemon.on["status"] = Fault(code, "it is so\x1b", "do that", {"x": 1})
    got = p2pctl("status")
    assert (got.status, got.out) == (EXIT_STATUS[code], "")
    assert got.err == "p2pctl: it is so\\u{1b}\n  hint: do that\n"
    got = p2pctl("--json", "status")
    assert (got.status, got.out) == (EXIT_STATUS[code], "")
    assert got.error == {
        "schema": "p2p.error/1",
        "code": code,
        "exit": EXIT_STATUS[code],
        "message": "it is so\x1b",
        "hint": "do that",
        "details": {"x": 1},
    }


def test_an_answer_of_a_strange_shape_is_no_traceback(
    daemon: Daemon, p2pctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("P2PCTL_DEBUG", raising=False)
    daemon.on["ping"] = {"version": "1"}
    got = p2pctl("ping")
    assert (got.status, got.out) == (1, "")
    assert "KeyError" in got.err
    assert "Traceback" not in got.err
    monkeypatch.setenv("P2PCTL_DEBUG", "1")
    with pytest.raises(KeyError):
        p2pctl("ping")


def test_the_timeout_of_the_environment(daemon: Daemon, p2pctl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.on["status"] = lambda request, send: None
    monkeypatch.setenv("P2PCTL_TIMEOUT", "0.1")
    got = p2pctl("status")
    assert (got.status, got.err.splitlines()[0]) == (6, "p2pctl: no answer within 0.1 s")


def test_where_the_socket_is(
    daemon: Daemon, place: Path, p2pctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.on["version"] = {"version": "9", "wire_version": 1, "control_version": 1}
    monkeypatch.setenv("P2PCTL_SOCKET", "/nowhere")
    for argv in (["--home", str(place)], ["--socket", str(place / "control.sock")], [f"--home={place}"]):
        assert p2pctl(*argv, "version", "--daemon").out == f"p2pctl {VERSION}\np2pd 9\n"
    got = p2pctl("version", "--daemon")
    assert got.status == 3
    assert "/nowhere" in got.err
    assert "p2pd peer --tracker HOST" in got.err


def test_version(p2pctl: Run) -> None:
    for argv in (["version"], ["--version"], ["--version", "-v"]):
        assert p2pctl(*argv).out.startswith(f"p2pctl {VERSION}")
    assert p2pctl("--json", "version").document["items"][0]["version"] == VERSION


def test_only_the_chosen_command_is_imported(p2pctl: Run) -> None:
    loaded = {name for name in sys.modules if name.startswith("p2pctl.commands.")}
    for name in loaded:
        del sys.modules[name]
    p2pctl("version")
    assert {name for name in sys.modules if name.startswith("p2pctl.commands.")} == {
        "p2pctl.commands.version"
    }
