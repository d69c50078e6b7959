"""tests/fakes/wheels.py: what was installed here is installed from its wheel elsewhere, and works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.fakes.wheels import needed, write


def test_what_is_needed_is_all_that_is_required() -> None:
    names = set(needed(["cryptography", "msgpack"]))
    assert names >= {"cryptography", "cffi", "pycparser", "msgpack"}
    assert "pytest" not in names  # an extra


def test_a_wheel_is_installed_and_works(tmp_path: Path) -> None:
    wheel = write(needed(["msgpack"])["msgpack"], tmp_path)
    to = tmp_path / "there"
    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps"]
    subprocess.run([*words, "--target", to, wheel], check=True, capture_output=True)
    code = f"import sys; sys.path.insert(0, {str(to)!r}); import msgpack; print(msgpack._cmsgpack.__file__, msgpack.packb([1]))"
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(str(to))
    assert done.stdout.endswith(r"b'\x91\x01'" + "\n")
