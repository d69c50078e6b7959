"""p2pd/tracker/dsn.py: addresses of databases, and what of them is shown."""

from __future__ import annotations

import pytest

from p2pd.tracker.dsn import is_address, shown


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("postgresql://u:secret@db.example:5433/p2pd", "postgresql://db.example:5433/p2pd"),
        ("postgres://u@db/p2pd?sslmode=require", "postgresql://db/p2pd"),
        ("postgresql:///p2pd?host=/run/pg&password=secret", "postgresql:///run/pg/p2pd"),
        ("postgresql:///?service=tracker", "postgresql:///?service=tracker"),
        ("postgresql://u:se?cr#et@db/p2pd", "postgresql://db/p2pd"),
        ("postgresql://db1:5432,db2:5433/p2pd", "postgresql://db1:5432,db2:5433/p2pd"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, text: str) -> None:
    assert shown(address) == text
    assert is_address(address)


@pytest.mark.parametrize("path", ["tracker.db", "/srv/postgresql/x", "mysql://x/y", ""])
def test_a_path_is_no_address(path: str) -> None:
    assert not is_address(path)
