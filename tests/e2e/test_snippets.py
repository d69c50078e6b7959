"""Every shell snippet of README and docs is run as a reader would, and prints what the document shows."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.programs import needs
from tests.fakes.snippet_runner import alone
from tests.fakes.snippets import RUN, WAYS, Snippet, snippets

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "bench/*.md")
    for path in ROOT.glob(pattern)
)
OTHERWISE = {  # (document, way): how many blocks are not run as they stand, but in another way (WAYS in tests/fakes/snippets.py)
    ("CONTRIBUTING.md", "narrowed"): 1,
    ("README.md", "narrowed"): 1,
    ("bench/README.md", "narrowed"): 1,
    ("docs/how-to/cron.md", "cron"): 1,
    ("docs/operations.md", "recorded"): 1,
    ("docs/operations.md", "root"): 2,
    ("docs/operations.md", "user"): 3,
    ("docs/performance.md", "small"): 13,
}
MEASUREMENTS = "docs/performance.md"  # see test_measurements.py


def blocks(name: str) -> list[Snippet]:
    return list(snippets((ROOT / name).read_text(encoding="utf-8")))


def runs(name: str) -> bool:
    """Whether there is anything to run in a document."""
    return any(block.language in (*RUN, "run") or block.way for block in blocks(name))


def test_nothing_is_left_out() -> None:
    """What is not run as it stands is in the list above, with a way that says what it is worth: whoever adds one has to say so here."""
    assert (
        Counter(
            (name, block.way)
            for name in DOCUMENTS
            for block in blocks(name)
            if block.way and block.language != "run"
        )
        == OTHERWISE
    )
    assert {way for _, way in OTHERWISE} == WAYS.keys()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_text_shows_no_commands(name: str) -> None:
    for block in blocks(name):
        if block.language == "text":
            assert not any(line.startswith(("$ ", "# ")) for line in block.text.splitlines()), block.line


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_command_hides_in_indented_text(name: str) -> None:
    """It would be a snippet that nothing runs."""
    text = (ROOT / name).read_text(encoding="utf-8")
    outside = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert (
        re.findall(r"^ {4,}(?:\$ )?(?:p2pd|p2pctl|make|pip|python|sudo|systemctl) .*$", outside, re.MULTILINE)
        == []
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if runs(name) and name != MEASUREMENTS])
def test_snippets(name: str) -> None:
    needs("unshare")
    needs("ip")
    done = subprocess.run(alone(name), cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
