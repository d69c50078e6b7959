"""p2pctl config, reload and logs: every shape, what is asked of the daemon, and how following ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2pctl.commands.config import MOST_OCTETS
from protocol.errors import Fault
from tests.fakes.schemas import validate, validate_item, validate_line
from tests.fakes.screens import Pty
from tests.p2pctl.conftest import ROOT, Daemon, Run, Start
from tests.p2pctl.samples import page

HOSTILE = "a\x1b[31m"


def setting(key: str = "log.level", value: Any = "info", **changes: Any) -> dict[str, Any]:
    item = {
        "key": key,
        "value": value,
        "origin": "default",
        "where": "",
        "applies": "live",
        "pending": False,
        "running": value,
        "default": value,
        "help": "least level",
    }
    return {**item, **changes}


def change(key: str, before: Any, value: Any, **changes: Any) -> dict[str, Any]:
    item = {
        "key": key,
        "before": before,
        "value": value,
        "origin": "file",
        "where": "/c.toml:3",
        "applies": "live",
        "applied": True,
        "note": None,
        "error": None,
    }
    return {**item, **changes}


def line(seq: int, message: str = "= x", **changes: Any) -> dict[str, Any]:
    item = {
        "seq": seq,
        "time": "2026-08-18T09:12:44.123Z",
        "level": "info",
        "area": "p2pd.app",
        "message": message,
        "exception": None,
    }
    return {**item, **changes}


def lines(*items: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**page(*items, next=str(items[-1]["seq"] if items else 0)), "lost": 0, **changes}


class TestConfig:
    ITEMS = (
        setting(
            "daemon.nice", 7, origin="file", where="/c.toml:2", applies="restart", pending=True, running=5
        ),
        setting("peer.trackers", ["a", "b:1"], origin="flag", where="--tracker"),
        setting("peer.announce", ""),
    )

    def test_list(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["config"] = page(*self.ITEMS)
        for words in ([], ["list"]):
            assert p2pctl("config", *words).out == (
                "KEY            VALUE      FROM     APPLIES\n"
                "daemon.nice    7 (now 5)  file     restart\n"
                "peer.trackers  a,b:1      flag     live\n"
                "peer.announce  -          default  live\n"
            )
        assert "/c.toml:2" in p2pctl("config", "-v").out
        assert p2pctl("-q", "config").out == "daemon.nice\npeer.trackers\npeer.announce\n"
        got = p2pctl("--json", "config").document
        validate("config", got)
        assert got["items"] == list(self.ITEMS)
        assert p2pctl("--tsv", "--columns", "key,running", "config").out.splitlines()[0] == "daemon.nice\t5"
        for text in p2pctl("--jsonl", "config").out.splitlines():
            validate_item("config", json.loads(text))

    def test_get(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["config"] = page(self.ITEMS[1])
        assert p2pctl("config", "get", "peer.trackers").out == "a,b:1\n"
        assert daemon.params("config") == [{"keys": ["peer.trackers"]}]
        daemon.on["config"] = page(setting("a.b", True), setting("c.d", HOSTILE))
        assert p2pctl("config", "get", "a.b", "c.d").out == "a.b = true\nc.d = a\\u{1b}[31m\n"
        validate("config", p2pctl("--json", "config", "get", "a.b").document)

    def test_set(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["config_set"] = {**setting(value="debug", origin="overlay", changed=True), "warnings": []}
        assert p2pctl("config", "set", "log.level", "debug").out == "log.level = debug (overlay, now)\n"
        p2pctl("config", "set", "peer.trackers", "a", "b:1")
        assert daemon.params("config_set") == [
            {"key": "log.level", "value": "debug"},
            {"key": "peer.trackers", "value": ["a", "b:1"]},
        ]
        daemon.on["config_set"] = {**self.ITEMS[0], "changed": True, "warnings": []}
        assert p2pctl("config", "set", "daemon.nice", "7").out == "daemon.nice = 7 (file, after a restart)\n"

    @pytest.mark.parametrize(
        ("given", "value"),
        [
            (b"postgresql://u:secret@h/d\n", "postgresql://u:secret@h/d"),
            (b"7", "7"),
            (b"a\r\nb:1\n\n", ["a", "b:1"]),
        ],
    )
    def test_set_from_standard_input(self, daemon: Daemon, start: Start, given: bytes, value: object) -> None:
        daemon.on["config_set"] = {**setting(value="***", origin="overlay", changed=True), "warnings": []}
        out, err = start("config", "set", "tracker.registry", "-", stdin=subprocess.PIPE).communicate(given)
        assert (out, err) == (b"log.level = *** (overlay, now)\n", b"")
        assert daemon.params("config_set") == [{"key": "tracker.registry", "value": value}]

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            (b"", "is empty"),
            (b"\n\n", "is empty"),
            (b"\xff", "is not UTF-8"),
            (b"x" * (MOST_OCTETS + 1), "is too long"),
        ],
    )
    def test_what_is_no_value_on_standard_input(
        self, daemon: Daemon, start: Start, given: bytes, says: str
    ) -> None:
        process = start("--json", "config", "set", "log.level", "-", stdin=subprocess.PIPE)
        out, err = process.communicate(given)
        assert (process.returncode, out) == (2, b"")
        assert says in validate_line(err.decode())["message"]
        assert daemon.server.requests == []

    def test_no_value_where_command_lines_come_from(self, daemon: Daemon, start: Start) -> None:
        process = start("batch", "-", stdin=subprocess.PIPE)
        out, err = process.communicate(b"config set log.level -\nping\n")
        assert (process.returncode, out) == (2, b"")
        assert b"standard input has the command lines" in err

    def test_set_at_a_terminal_without_showing_it(self, daemon: Daemon, place: Path) -> None:
        daemon.on["config_set"] = {**setting(value="***", origin="overlay", changed=True), "warnings": []}
        words = [sys.executable, "-m", "p2pctl", "config", "set", "tracker.registry", "-"]
        pty = Pty(words, {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "linux"}, 80, 10)
        pty.until(lambda rows: any("(it is not shown):" in row for row in rows))
        pty.type(b"postgresql://u:secret@h/d\r")
        status, rows = pty.end()
        assert (status, rows[-1]) == (0, "log.level = *** (overlay, now)")
        assert not any("secret" in row for row in rows)
        assert daemon.params("config_set") == [
            {"key": "tracker.registry", "value": "postgresql://u:secret@h/d"}
        ]

    @pytest.mark.parametrize(
        ("value", "warned"),
        [
            ("postgresql://u:secret@h/d", True),
            ("postgresql://h/d?user=u&password=secret", True),
            ("postgresql://u@h:5432/d", False),
            ("postgresql:///?service=x", False),
            ("/var/lib/tracker.db", False),
        ],
    )
    def test_a_password_in_an_argument(
        self, daemon: Daemon, p2pctl: Run, tmp_path: Path, value: str, warned: bool
    ) -> None:
        daemon.on["config_set"] = {**setting(value="***", origin="overlay", changed=True), "warnings": []}
        got = p2pctl("config", "set", "tracker.registry", value)
        assert got.status == 0
        assert ("p2pctl config set tracker.registry - < FILE" in got.err) is warned
        assert "secret" not in got.err
        document = p2pctl("--json", "config", "set", "tracker.registry", value).document
        validate("config", document)
        assert bool(document["warnings"]) is warned
        lines = tmp_path / "lines"
        lines.write_text(f"config set tracker.registry {value}\n")
        assert p2pctl("batch", str(lines)).err == ""  # there it is in no argument

    def test_what_wins_is_a_warning(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["config_set"] = {**self.ITEMS[1], "changed": True, "warnings": ["--tracker wins over it"]}
        got = p2pctl("config", "set", "peer.trackers", "c")
        assert (got.status, got.err) == (0, "p2pctl: --tracker wins over it\n")
        document = p2pctl("--json", "config", "set", "peer.trackers", "c").document
        validate("config", document)
        assert document["warnings"] == ["--tracker wins over it"]

    def test_unset_several_of_which_one_fails(self, daemon: Daemon, p2pctl: Run) -> None:
        def answer(request: Any, send: Any) -> dict[str, Any]:
            if request.params["key"] == "x":
                raise Fault("usage", "there is no setting 'x'", "did you mean y?")
            return {**setting(request.params["key"], changed=False), "warnings": []}

        daemon.on["config_unset"] = answer
        got = p2pctl("--json", "config", "unset", "log.level", "x")
        assert (got.status, got.document["failed"][0]["subject"]) == (12, "x")
        got = p2pctl("config", "unset", "log.level")
        assert got.out == "log.level = info (default, now, as before)\n"

    @pytest.mark.parametrize(
        ("words", "hint"),
        [
            (["frob"], "p2pctl help config"),
            (["gte", "log.level"], "did you mean: p2pctl config get"),
            (["get"], "p2pctl config list"),
            (["set"], "p2pctl config list"),
            (["set", "log.level"], "p2pctl config unset log.level"),
            (["unset"], "p2pctl config list"),
            (["list", "x"], "p2pctl config get"),
        ],
    )
    def test_what_it_cannot(self, daemon: Daemon, p2pctl: Run, words: list[str], hint: str) -> None:
        got = p2pctl("config", *words)
        assert (got.status, got.out) == (2, "")
        assert hint in got.err
        assert daemon.server.requests == []


class TestReload:
    def test_what_changed_and_what_waits(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["reload"] = page(
            change("log.level", "info", "debug"),
            change("peer.trackers", [], ["a"], note="and more"),
            change("daemon.nice", 5, 7, applies="restart", applied=False),
            change(
                "log.file",
                "",
                "/x",
                applied=False,
                error={"code": "storage", "message": "no right", "hint": ""},
            ),
        )
        assert p2pctl("reload").out == (
            "log.level: info -> debug\n"
            "peer.trackers: - -> a, and more\n"
            "daemon.nice: 5 -> 7, waits for a restart\n"
            "log.file: - -> /x, not applied: no right\n"
        )
        validate("reload", p2pctl("--json", "reload").document)
        assert p2pctl("-q", "reload").out.splitlines()[0] == "log.level"
        assert p2pctl("--tsv", "reload").out.splitlines()[2].startswith("daemon.nice\t5\t7\tfalse\trestart")

    def test_nothing(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["reload"] = page()
        got = p2pctl("reload")
        assert (got.status, got.out, got.err) == (0, "", "nothing has changed\n")

    def test_each_mistake_is_told(self, daemon: Daemon, p2pctl: Run) -> None:
        problems = [
            {"where": "/c:1", "key": "a", "message": f"/c:1: {HOSTILE}", "hint": "did you mean b?"},
            {"where": "/c:2", "key": "c", "message": "/c:2: worse", "hint": ""},
        ]
        daemon.on["reload"] = Fault(
            "usage", "2 settings are wrong", "nothing was changed", {"problems": problems}
        )
        got = p2pctl("reload")
        assert (got.status, got.out) == (2, "")
        assert got.err == (
            "p2pctl: 2 settings are wrong\n"
            "  /c:1: a\\u{1b}[31m\n"
            "    hint: did you mean b?\n"
            "  /c:2: worse\n"
            "  hint: nothing was changed\n"
        )
        assert validate_line(p2pctl("--json", "reload").err)["details"] == {"problems": problems}


class TestLogs:
    def test_every_shape(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["logs"] = lines(line(1), line(2, HOSTILE, level="error", exception=["Traceback", "  x"]))
        out = p2pctl("logs").out.splitlines()
        assert out[0].endswith(".123 info    app          = x")
        assert out[1].endswith("error   app          a\\u{1b}[31m")
        assert out[2:] == ["    Traceback", "      x"]
        document = p2pctl("--json", "logs").document
        validate("logs", document)
        assert document["next"] is None
        assert p2pctl("-q", "logs").out == f"= x\n{HOSTILE}\n"
        assert (
            p2pctl("--tsv", "logs").out.splitlines()[0] == "1\t2026-08-18T09:12:44.123Z\tinfo\tp2pd.app\t= x"
        )
        assert daemon.params("logs")[0] == {"lines": 50, "level": None}

    def test_how_many_and_which(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["logs"] = lines()
        got = p2pctl("logs", "-n", "0", "--level", "warning")
        assert (got.status, got.err) == (0, "nothing was logged\n")
        assert daemon.params("logs") == [{"lines": 0, "level": "warning"}]
        for words in (["-n", "1001"], ["-n", "x"], ["-n", "-1"], ["--level", "loud"], ["-f", "--json"]):
            assert p2pctl("logs", *words).status == 2

    def test_following_asks_for_what_came_after_and_tells_what_is_missing(
        self, daemon: Daemon, start: Start
    ) -> None:
        def answer(request: Any, send: Any) -> dict[str, Any] | None:
            after = request.params.get("after")
            if after is None:
                return lines(line(4, "old"))
            if after == 4:
                return lines(line(9, "new"), lost=4, partial=True)
            return None

        daemon.on["logs"] = answer
        process = start("--jsonl", "logs", "-n", "1", "-f")
        assert process.stdout is not None
        got = [json.loads(process.stdout.readline()) for _ in range(3)]
        for item in got:
            validate_item("logs", item)
        assert [item["message"] for item in got] == [
            "old",
            "... 4 lines are missing here: they came faster than they were read",
            "new",
        ]
        assert (got[1]["seq"], got[1]["time"]) == (None, None)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (130, b"")
        assert validate_line(err.decode())["code"] == "interrupted"
        assert [params.get("after") for params in daemon.params("logs")][:2] == [None, 4]

    def test_the_end_of_the_daemon_is_told(self, daemon: Daemon, p2pctl: Run) -> None:
        def answer(request: Any, send: Any) -> dict[str, Any]:
            if "after" in request.params:
                raise Fault("no_daemon", "the daemon is stopping", "start it again")
            return lines(line(1))

        daemon.on["logs"] = answer
        got = p2pctl("logs", "-f")
        assert got.status == 3
        assert got.out.endswith("= x\n")
        assert got.err == "p2pctl: p2pd has ended, and its log with it\n  hint: start it again\n"

    def test_an_end_that_was_asked_for(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["logs"] = lambda request, send: None if "after" in request.params else lines(line(1))
        got = p2pctl("--timeout", "0.2", "logs", "-f")
        assert got.status == 6
        assert "in the time that was given" in got.err

    def test_another_trouble_is_told_as_it_is(self, daemon: Daemon, p2pctl: Run) -> None:
        def answer(request: Any, send: Any) -> dict[str, Any]:
            if "after" in request.params:
                raise Fault("refused", "too many requests under way")
            return lines(line(1))

        daemon.on["logs"] = answer
        assert p2pctl("logs", "-f").status == 13
