"""Every measurement that docs/performance.md shows runs, small, to its end: the scripts of bench/ are not left to rot."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.fakes.programs import needs
from tests.fakes.snippet_runner import alone
from tests.fakes.snippet_ways import SMALL

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = "docs/performance.md"


def test_all_scripts_are_measurements_that_are_shown() -> None:
    listed = re.findall(r"^\| `(\w+\.py)` \|", (ROOT / "bench/README.md").read_text("utf-8"), re.MULTILINE)
    shown = set(re.findall(r"^python bench/(\w+\.py)", (ROOT / DOCUMENT).read_text("utf-8"), re.MULTILINE))
    assert set(listed) == shown == SMALL.keys()


@pytest.mark.timeout(420)
def test_measurements() -> None:
    needs("unshare")
    needs("ip")
    done = subprocess.run(alone(DOCUMENT), cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
