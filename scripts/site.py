"""What mkdocs does not know by itself: pages that lie outside docs/, links to them, and the list of decisions.

The rule: every link that works in the repository works on the site, or the build fails; links to source files become their names.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "bench/README.md")
PLACE = "project"
_LINK = re.compile(r"\[([^\]\n]*)\]\(([^)#\s:]*)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Fills the list of decisions in."""
    found = sorted(path.name for path in (ROOT / "docs/decisions").glob("*.md"))
    for tab in config["nav"]:
        for title, entries in tab.items():
            if title == "Explanation":
                entries[-1] = {"Decisions": [f"decisions/{name}" for name in found]}
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that lie elsewhere."""
    for name in OUTSIDE:
        content = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, f"{PLACE}/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Makes links from where a file lies in the repository into links between pages."""
    uri = page.file.src_uri
    inside = uri.startswith(f"{PLACE}/")
    here = posixpath.dirname(uri.removeprefix(f"{PLACE}/") if inside else f"docs/{uri}")

    def rewritten(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if not target:
            return match[0]
        path = posixpath.normpath(posixpath.join(here, target))
        if path == "README.md":
            path = "docs/index.md"
        if path in OUTSIDE:
            page_uri = f"{PLACE}/{path}"
        elif path.startswith("docs/") and path.endswith(".md"):
            page_uri = path.removeprefix("docs/")
        elif path == "docs/decisions":
            page_uri = sorted(each.src_uri for each in files if each.src_uri.startswith("decisions/"))[0]
        elif (ROOT / path).exists():
            return text  # a source file: its name is enough
        else:
            return match[0]
        return f"[{text}]({posixpath.relpath(page_uri, posixpath.dirname(uri) or '.')}{anchor})"

    return _LINK.sub(rewritten, markdown)
