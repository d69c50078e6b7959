"""p2pd registry copy: from SQLite to PostgreSQL and back, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pd import registrycopy
from p2pd.cli import main
from p2pd.lock import HomeLock
from p2pd.tracker.registry_postgres import PostgresRegistry
from p2pd.tracker.registry_sqlite import SqliteRegistry
from tests.fakes.postgres import Server
from tests.fakes.registry_contract import LEASE, announce, entry, join, names
from tests.fakes.schemas import validate


@pytest.fixture
def address(postgres: Server) -> str:
    return postgres.make_database()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A registry with two devices and four files, of a tracker that runs."""
    path = tmp_path / "tracker.db"
    registry = SqliteRegistry(path)
    join(registry, 1, *(entry(number, f"alpha {number}") for number in range(3)))
    join(registry, 2, entry(3, "alpha 3"))
    registry.close()
    return path


def copy(*words: str | Path) -> int:
    return main(["registry", "copy", *map(str, words)])


def test_there_and_back(
    source: Path, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with HomeLock(source.parent):  # its tracker runs
        assert copy(source, address) == 0
    assert "Copied 2 devices and 4 files to postgresql://" in capsys.readouterr().out
    assert copy(address, tmp_path / "back.db", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    validate("p2pd registry", document)
    [item] = document["items"]
    assert (item["devices"], item["files"]) == (2, 4)
    assert item["target"] == str(tmp_path / "back.db")
    registry = SqliteRegistry(tmp_path / "back.db")
    registry.resume(0.0, LEASE)
    assert len(names(registry, "alpha")) == 4
    registry.close()


def test_a_target_with_something_is_refused(
    source: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy(source, address) == 0
    assert copy(source, address) == 11
    err = capsys.readouterr().err
    assert "TO knows 2 devices and 4 files already" in err
    assert "--continue" in err
    assert copy(source, address, "--continue") == 0
    registry = PostgresRegistry(address)
    announce(registry, 9)
    registry.close()
    assert copy(source, address, "--replace") == 0
    registry = PostgresRegistry(address)
    assert registry.database.query("SELECT COUNT(*), SUM(files) FROM device") == [(2, 4)]
    registry.close()


def test_a_target_that_a_tracker_uses_is_refused(
    source: Path, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = PostgresRegistry(address)
    registry.resume(0.0, LEASE)
    assert copy(source, address) == 13
    assert "a tracker runs on" in capsys.readouterr().err
    registry.close()
    home = tmp_path / "home"
    with HomeLock(home):
        assert copy(source, home / "tracker.db") == 13
    assert "runs in" in capsys.readouterr().err
    assert copy(source, home / "tracker.db") == 0


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("registry",), 2, "p2pd registry --help"),
        (("registry", "copy", "a.db"), 2, "TO"),
        (("registry", "copy", "a.db", "./a.db"), 2, "are the same"),
        (("registry", "copy", "", "a.db"), 2, "FROM is empty"),
        (("registry", "copy", "missing.db", "a.db"), 10, "there is no registry"),
        (("registry", "copy", "mysql://x", "a.db"), 2, "must be a path or begin with postgresql://"),
        (("registry", "copy", "a.db", "b.db", "--continue", "--replace"), 2, "not allowed with"),
    ],
)
def test_what_is_wrong_is_told(
    words: tuple[str, ...],
    status: int,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == status
    assert text in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_password_in_an_argument_is_warned_of_and_not_shown(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy(source, f"postgresql://u:hidden@/x?host={tmp_path}") == 10
    err = capsys.readouterr().err
    assert "warning: everybody on this machine can read the password in TO" in err
    assert "hidden" not in err


def test_progress_is_one_line_that_goes_away(
    source: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registrycopy, "PAUSE", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert copy(source, address) == 0
    err = capsys.readouterr().err
    assert "\r0 of 2 devices, 3 of 4 files" in err
    assert err.endswith("\r")
    assert "\n" not in err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["registry", "--help"], ["registry", "copy", "--help"]):
        with pytest.raises(SystemExit):
            main(words)
        assert "postgresql://p2pd@db.example/p2pd" in capsys.readouterr().out
