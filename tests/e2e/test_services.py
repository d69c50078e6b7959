"""Snippets of services do what they say: run by root and a user of a machine that a real systemd has booted, in the order of the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.booted import Machine, lacking
from tests.fakes.programs import lacks
from tests.fakes.snippet_machine import USER
from tests.fakes.snippets import BOOTED, Snippet, snippets

ROOT = Path(__file__).resolve().parents[2]


def blocks(name: str) -> list[Snippet]:
    """What is for that machine."""
    return [block for block in snippets((ROOT / name).read_text(encoding="utf-8")) if block.way in BOOTED]


DOCUMENTS = sorted(
    name for path in ROOT.glob("docs/**/*.md") if blocks(name := path.relative_to(ROOT).as_posix())
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_snippets(name: str, tmp_path: Path) -> None:
    if what := lacking():
        lacks(f"to boot a machine needs {what}")
    with Machine(tmp_path) as machine:
        for block in blocks(name):
            done = machine.run("root" if block.way == "root" else USER, block.text)
            where = f"{name}:{block.line}: exit {done.returncode}"
            assert done.returncode == block.exit, f"{where}\n{done.stdout}\n{machine.journal()}"
