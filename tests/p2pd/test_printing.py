"""p2pd/printing.py: documents and errors in the published shapes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from p2pd.printing import document, report
from protocol.errors import Fault
from tests.fakes.processes import ROOT
from tests.fakes.schemas import validate, validate_line


def test_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    document("invite", {"invite": "p2p1-x"})
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.count("\n") == 1
    validate("p2pd invite", json.loads(told.out))


def test_an_error_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    for details in ({}, {"path": "/x"}):
        report(Fault("exists", "it is there", "take another", dict(details)), as_json=True)
        told = capsys.readouterr()
        assert told.out == ""
        assert validate_line(told.err).get("details", {}) == details


def test_errors_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    report(Fault("usage", "bad\x1b", "do this"), as_json=False)
    assert capsys.readouterr().err == "p2pd: bad\\u{1b}\n  hint: do this\n"
    problems = [{"message": "one", "hint": "first"}, {"message": "two", "hint": ""}]
    report(Fault("usage", "2 things are wrong", "", {"problems": problems}), as_json=False)
    assert capsys.readouterr().err == "p2pd: 2 things are wrong\n  one\n    hint: first\n  two\n"


def p2pd(*words: str, redirect: str = "") -> subprocess.CompletedProcess[str]:
    """A p2pd whose streams the shell treats like this."""
    command = f'exec "$0" -m p2pd "$@" {redirect}'
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["sh", "-c", command, sys.executable, *words],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    "words", [["version"], ["version", "--json"], ["paths"], ["paths", "--json"], ["invite"]]
)
class TestStreams:
    def test_a_full_disk(self, words: list[str]) -> None:
        done = p2pd(*words, redirect="> /dev/full")
        assert (done.returncode, done.stdout) == (10, "")
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr

    def test_nobody_reads(self, words: list[str]) -> None:
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [sys.executable, "-m", "p2pd", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
        os.close(write)
        assert (done.returncode, done.stderr) == (141, b"")

    def test_closed(self, words: list[str]) -> None:
        done = p2pd(*words, redirect=">&- 2>&- <&-")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_error_without_a_stderr() -> None:
    assert p2pd("nonsense", redirect="2>&-").returncode == 2
