"""The documentation as a site: it builds without a warning, and every link in it leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(directory)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return directory


def test_every_page_is_there(site: Path) -> None:
    pages = {path.relative_to(site).as_posix() for path in site.rglob("index.html")}
    for document in (ROOT / "docs").rglob("*.md"):
        name = document.relative_to(ROOT / "docs").with_suffix("").as_posix()
        name = re.sub(r"(^|/)(README|index)$", "", name)
        assert f"{name}/index.html".lstrip("/") in pages, name
    assert "project/CONTRIBUTING/index.html" in pages


def test_every_link_leads_somewhere(site: Path) -> None:
    for page in site.rglob("index.html"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r'<a[^>]* href="([^"#:]+)(?:#[^"]*)?"', text):
            there = (page.parent / unquote(target)).resolve()
            assert there.exists(), (page, target)
            assert there.is_file() or (there / "index.html").is_file(), (page, target)


def test_comments_for_the_tests_of_snippets_are_not_shown(site: Path) -> None:
    text = (site / "tutorial/index.html").read_text(encoding="utf-8")
    shown = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    assert "ping --wait-daemon 20 &amp;&amp;" not in shown
    assert "snippet:" not in shown
