"""Every shell snippet of README and docs is run as a reader would, and prints what the document shows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.fakes.programs import needs
from tests.fakes.snippet_runner import alone
from tests.fakes.snippets import RUN, snippets

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for pattern in ("*.md", "docs/**/*.md") for path in ROOT.glob(pattern)
)
NOT_RUN = {  # reasons that are accepted, each with a word on what shows that it is right all the same
    "it runs these tests": "the demonstration has a test of its own, and who reads this has run the other",
    "it installs for good": "pip is what the continuous integration installs with",
    "it measures for minutes": "the scripts of bench/ are run by hand, and their figures are in the same place",
    "it needs a machine that systemd runs": "the units are tested as files, and the daemon under their restrictions",
    "it needs a registry of images": "the page says what was built and run by hand",
}


def of(name: str) -> list[object]:
    return [
        each for each in snippets((ROOT / name).read_text(encoding="utf-8")) if each.language in (*RUN, "run")
    ]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_blocks_say_what_they_are(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for snippet in snippets(text):
        assert not snippet.reason or snippet.reason in NOT_RUN, (name, snippet.line)
        if snippet.language == "text":
            assert not any(line.startswith(("$ ", "# ")) for line in snippet.text.splitlines()), (
                name,
                snippet.line,
            )


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
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if of(name)])
def test_snippets(name: str) -> None:
    needs("unshare")
    needs("ip")
    done = subprocess.run(alone(name), cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
