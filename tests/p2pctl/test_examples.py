"""The examples of each command's help, which docs/reference and the manual pages show too: a shell runs every line, as it stands.

What runs in the place of p2pctl reads its command line with the real parser, and says a word; other programs only read. What the
commands do is in the tests of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pctl import cli
from tests.fakes.programs import needs

ROOT = Path(__file__).resolve().parents[2]
CLIENT = """
import sys
from p2pctl import args, cli
from protocol.errors import Fault
words = sys.argv[2:]
try:
    command, rest = args.split(words)
    assert command is not None
    _, parser = cli.load(command)
    args.parse(parser, rest)
except (Fault, AssertionError) as wrong:
    said = f"{words}: {wrong!r}"
else:
    said = "read"
with open(sys.argv[1], "a") as told:
    print(said, file=told)
print("true")
"""
NEEDED = {"id": "7f3a91c2", "ids": "7f3a91c2 0be4d7aa", "t": "t-118", "cursor": "13832f71:6"}
"""Variables that a line takes from lines before it."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the programs and files that examples name."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "client.py").write_text(CLIENT)
    client = f'#!/bin/sh\nexec {sys.executable} {tmp_path}/client.py {tmp_path}/told "$@"\n'
    for name, text in {
        "p2pctl": client,
        **dict.fromkeys(("jq", "mail", "tar"), "#!/bin/sh\ncat >&2\n"),
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / ".local/share/bash-completion/completions").mkdir(parents=True)
    for name in ("commands.txt", "url.txt"):
        (tmp_path / name).write_text("ping\n")
    return tmp_path


@pytest.mark.parametrize("command", sorted(cli.summaries()))
def test_every_example_is_a_line_of_the_shell_that_p2pctl_understands(command: str, home: Path) -> None:
    module, _ = cli.load(command)
    environ = {
        **NEEDED,
        "HOME": str(home),
        "PATH": f"{home}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    for line in module.EXAMPLES.strip().splitlines():
        done = subprocess.run(
            [needs("bash"), "-c", f"source() {{ cat >/dev/null; }}\n{line}"],  # of fish
            env=environ,
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, (line, done.stderr)
        told = (home / "told").read_text().splitlines()
        assert told, line
        assert set(told) == {"read"}, line
        (home / "told").unlink()
