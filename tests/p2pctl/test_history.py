"""What was typed: kept, bounded, private, and never a reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pctl.history import KEEP, MAX_LINE, MAX_OCTETS, History, place


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "state" / "p2pd" / "shell_history"
    kept = History(str(path))
    for line in ("list", "list", "add 'ä b'", "", " secret", "two\nlines", "x" * (MAX_LINE + 1), "list"):
        kept.append(line)
    assert History(str(path)).load() == ["list", "add 'ä b'", "list"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert kept.trouble == ""


def test_the_same_line_as_the_last_of_the_run_before(tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_text("list\n")
    kept = History(str(path))
    kept.load()
    kept.append("list")
    assert path.read_text() == "list\n"


def test_it_does_not_grow_without_bound(tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_text("".join(f"line {number}\n" for number in range(KEEP + 5)))
    lines = History(str(path)).load()
    assert lines == [f"line {number}" for number in range(5, KEEP + 5)]
    assert path.read_text().splitlines() == lines
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["h"]


def test_a_file_of_any_size_and_content(tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_bytes(b"\xff" * MAX_OCTETS + b"\nlist\n")
    assert History(str(path)).load() == ["list"]
    assert path.read_bytes() == b"list\n"
    path.write_bytes(b"a\xff\nunfinished")
    assert History(str(path)).load() == ["a\udcff"]


def test_one_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = History(str(tmp_path / "file" / "h"))
    assert kept.load() == []
    kept.append("list")
    assert "not kept" in kept.trouble
    (tmp_path / "target").write_text("precious\n")
    (tmp_path / "link").symlink_to("target")
    linked = History(str(tmp_path / "link"))
    assert linked.load() == []
    linked.append("list")
    assert (tmp_path / "target").read_text() == "precious\n"
    assert "not kept" in linked.trouble


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"P2PCTL_HISTORY": "", "XDG_STATE_HOME": "/s"}, ""),
        ({"P2PCTL_HISTORY": "/h"}, "/h"),
        ({"XDG_STATE_HOME": "/s"}, "/s/p2pd/shell_history"),
    ],
)
def test_the_place(environ: dict[str, str], path: str) -> None:
    assert place(environ) == path


def test_none_is_kept_when_that_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = History("")
    kept.append("list")
    assert kept.load() == []
    assert kept.trouble == ""
    assert list(tmp_path.iterdir()) == []
