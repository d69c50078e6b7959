"""scripts/demo, which `make demo` runs: a file travels between two daemons, and nothing is left of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_demonstration(tmp_path: Path) -> None:
    file = tmp_path / "mine.bin"
    file.write_bytes(os.urandom(3_000_000))
    temporary = tmp_path / "t"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/demo"), str(file)],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine.bin" in done.stdout
    assert list(temporary.iterdir()) == []
