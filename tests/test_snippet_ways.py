"""tests/fakes/snippet_ways.py: what is run in the place of a snippet, and what is no such snippet."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fakes.snippet_ways import NARROWED, SMALL, Job, cron, job_command, not_seen, small

ROOT = Path(__file__).resolve().parents[1]


def test_a_measurement_is_made_small_by_options_that_come_last() -> None:
    commands = small("python bench/startup.py\npython bench/swarm.py --size 1G")
    assert commands == [
        f"python bench/startup.py {SMALL['startup.py']}",
        f"python bench/swarm.py --size 1G {SMALL['swarm.py']}",
    ]
    for bad in ("python bench/nothing.py", "rm -r bench/startup.py", "python bench/startup.py; halt"[7:]):
        with pytest.raises(ValueError, match="no measurement"):
            small(bad)


TESTED = """\
All checks passed!
700 files already formatted
Success: no issues found in 297 source files
Contracts: 8 kept, 0 broken.
1376 passed in 8.35s
"""


def test_what_make_prints_shows_what_ran() -> None:
    assert not_seen("make demo\nmake test", TESTED) == []
    lines = TESTED.splitlines()
    for at in range(len(lines)):
        assert len(not_seen("make test", "\n".join(lines[:at] + lines[at + 1 :]))) == 1
    for told, instead in (("0 broken", "1 broken"), ("1376 passed", "1 failed, 1375 passed"), ("297", "2")):
        assert len(not_seen("make test", TESTED.replace(told, instead))) == 1
    assert len(not_seen("make bench", TESTED)) == 2
    with pytest.raises(ValueError, match="neither"):
        not_seen("make demo", TESTED)


def test_the_tests_that_are_named_are_there_and_follow_no_document() -> None:
    for name in NARROWED["PYTEST_ADDOPTS"].split():
        files = list((ROOT / name).rglob("test_*.py"))
        assert files
        assert not [file for file in files if "snippet_runner" in file.read_text("utf-8")]


def test_a_crontab() -> None:
    text = "# mine\nA=1\nPATH = /x:/bin\n\n*/15 1-5,7 1 jan,feb mon-fri  run --at \\%H | wc\nB='2 3'\n@daily   run"
    assert cron(text) == [
        Job("run --at %H | wc", {"A": "1", "PATH": "/x:/bin"}),
        Job("run", {"A": "1", "PATH": "/x:/bin", "B": "2 3"}),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "* * * * *",
        "60 * * * * run",
        "* 24 * * * run",
        "* * 0 * * run",
        "* * * 13 * run",
        "* * * * 8 run",
        "5-1 * * * * run",
        "*/0 * * * * run",
        "5/2 * * * * run",
        "a * * * * run",
        "1,,2 * * * * run",
        "@often run",
        "@daily",
        "* * * * * date +%H",
    ],
)
def test_what_cron_would_not_take(line: str) -> None:
    with pytest.raises(ValueError, match=r"^no |^a line|^a %"):
        cron(line)


def test_a_job_runs_with_little_but_its_settings() -> None:
    [job] = cron("B=2\n@daily echo $0 $B $HOME $LOGNAME $PATH $PWD x$TERM")
    done = subprocess.run(
        job_command(job, "/tmp", "me"), shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout == "/bin/sh 2 /tmp me /usr/bin:/bin /tmp x\n"
