"""tests/fakes/snippet_ways.py: what is run in the place of a snippet, and what is no such snippet."""

from __future__ import annotations

import subprocess

import pytest

from tests.fakes.snippet_ways import SMALL, Job, cron, job_command, planned, small


def test_a_measurement_is_made_small_by_options_that_come_last() -> None:
    commands = small("python bench/startup.py\npython bench/swarm.py --size 1G")
    assert commands == [
        f"python bench/startup.py {SMALL['startup.py']}",
        f"python bench/swarm.py --size 1G {SMALL['swarm.py']}",
    ]
    for bad in ("python bench/nothing.py", "rm -r bench/startup.py", "python bench/startup.py; halt"[7:]):
        with pytest.raises(ValueError, match="no measurement"):
            small(bad)


def test_only_tests_and_measurements_are_planned() -> None:
    assert planned("make demo\nmake test") == "make demo\nmake --dry-run test"
    assert planned("make bench") == "make --dry-run bench"


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
