"""The overlay: what `p2pctl config set` changed, in a file of the home that only the daemon writes.

The rule: it wins over the user's file and loses to environment and flags; it holds nothing but settings; it is replaced whole. What a
person wrote into it is read, and kept only as far as it is a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from p2pd import tomlfile
from p2pd.files import sync_directory, write_private
from protocol.display import safe
from protocol.errors import Fault

NAME = "overlay.toml"
REFUSED = frozenset({"daemon.home", "daemon.role"})
"""Settings that lead to the overlay cannot stand in it."""

_COMMENT = """\
Written by p2pd: what `p2pctl config set` changed. It wins over p2pd.toml.
`p2pctl config unset KEY` takes a line out again."""


def path(home: Path) -> Path:
    """The overlay of a home."""
    return home / NAME


def store(home: Path, values: Mapping[str, Any]) -> None:
    """Replaces the overlay; without values there is none. Raises Fault usage (no UTF-8) and storage."""
    if values:
        write_private(path(home), tomlfile.write(values, _COMMENT).encode("utf-8"))
        return
    try:
        with suppress(FileNotFoundError):
            path(home).unlink()
            sync_directory(home)
    except OSError as error:
        raise Fault("storage", f"cannot remove {safe(str(path(home)))}: {error.strerror}") from error
