"""How a snippet that cannot be run as it stands is run all the same (WAYS in snippets.py): the commands that are run in its place. Pure."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

SMALL = {
    "throughput.py": "--size 4M --runs 1 --warm 1M",
    "peers.py": "--size 4M --rounds 1 --warm 1M",
    "status.py": "--size 8M --downloads 1 --warm 1M",
    "stream.py": "--size 4M --rounds 1 --warm 1M",
    "many.py": "--files 30 --rounds 1",
    "sources.py": "--size 4M --cap 8M --runs 1 --troubles none,dies",
    "tracker.py": "--devices 3 --files 10 --seconds 1 --announcing 2 --sweep 10 --no-usr",
    "devices.py": "--devices 3 --joining 1 --seconds 1",
    "parts.py": "--size 2M",
    "limits.py": "--rates 1M --seconds 0.5",
    "swarm.py": "--size 2M --cap 8M --leechers 2",
    "startup.py": "--rounds 1",
}
"""Options that make each script of bench/ small; they come after those of the document, and win."""

NARROWED = {"PYTEST_ADDOPTS": "tests/protocol tests/p2pd/engine", "SIZE": "4M", "RUNS": "1"}
"""Variables under which `make test` and `make bench` take seconds. None of these tests follows a document."""

_RAN = {
    "test": (
        r"All checks passed!",
        r"\d{3,} files already formatted",
        r"Success: no issues found in \d{3,} source files",
        r"Contracts: [1-9]\d* kept, 0 broken\.",
        r"(?<![\d ])[1-9]\d{2,} passed(, \d+ skipped)? in ",
    ),
    "bench": (r"p2pctl --json status", r"4 MiB of random octets, 1 runs"),
}

CRON_PATH = "/usr/bin:/bin"
_FIELDS = (  # name, least, most, names
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of the week", 0, 7, ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
)
_WORDS = ("@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


class Job(NamedTuple):
    """A line of a crontab: what runs, with which settings of lines before it."""

    command: str
    environment: dict[str, str]


def small(text: str) -> list[str]:
    """The measurements of a block, each made small. Raises ValueError for what is none."""
    commands = []
    for line in text.splitlines():
        found = re.fullmatch(r"python bench/(\w+\.py)( .*)?", line)
        if not found or found[1] not in SMALL:
            raise ValueError(f"no measurement: {line}")
        commands.append(f"{line} {SMALL[found[1]]}")
    return commands


def not_seen(text: str, printed: str) -> list[str]:
    """What the targets of a block, under NARROWED, should have printed, as patterns, and did not. Raises ValueError if there are none."""
    targets = re.findall(r"^make (test|bench)$", text, re.MULTILINE)
    if not targets:
        raise ValueError(f"neither make test nor make bench: {text}")
    return [wanted for target in targets for wanted in _RAN[target] if not re.search(wanted, printed)]


def cron(text: str) -> list[Job]:
    """The jobs of a crontab of a user. Raises ValueError with the line for what cron would not take."""
    environment: dict[str, str] = {}
    jobs = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if setting := re.fullmatch(r"\s*(\w+)\s*=\s*(.*?)\s*", line):
            environment[setting[1]] = setting[2].strip("'\"")
            continue
        count = 1 if line.startswith("@") else len(_FIELDS)
        *times, command = line.split(None, count)
        if len(times) != count:
            raise ValueError(f"a line without a command: {line}")
        if count == 1 and times[0] not in _WORDS:
            raise ValueError(f"no such time: {times[0]}")
        for value, (name, least, most, names) in zip(times if count > 1 else [], _FIELDS, strict=False):
            _check_field(value, name, least, most, list(names))
        # cron makes a newline of each % without a backslash, and input of what follows the first
        if re.search(r"(?<!\\)%", command):
            raise ValueError(f"a % that cron would split the line at: {line}")
        jobs.append(Job(command.replace("\\%", "%"), dict(environment)))
    return jobs


def _check_field(value: str, name: str, least: int, most: int, names: list[str]) -> None:
    for part in value.split(","):
        whole, _, step = part.partition("/")
        ends = ["*"] if whole == "*" else whole.split("-")
        numbers = [
            names.index(end.lower()) + least if end.lower() in names else int(end) if end.isdigit() else -1
            for end in ends
            if end != "*"
        ]
        good = len(ends) <= 2 and all(least <= number <= most for number in numbers)
        if not good or numbers != sorted(numbers) or (step != "" and (not step.isdigit() or step == "0")):
            raise ValueError(f"no {name}: {value}")
        if "/" in part and (not step or (whole != "*" and len(ends) < 2)):
            raise ValueError(f"no {name}: {value}")


def job_command(job: Job, home: str, user: str) -> str:
    """The command line of a shell that runs a job as cron would."""
    environment = {
        "HOME": home,
        "LOGNAME": user,
        "SHELL": "/bin/sh",
        "PATH": CRON_PATH,
        **job.environment,
    }
    words = ["env", "-i", "-C", environment["HOME"], *(f"{k}={v}" for k, v in environment.items())]
    return shlex.join([*words, environment["SHELL"], "-c", job.command])
