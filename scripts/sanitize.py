"""Builds the native part of sealing with the compiler's sanitizers (addresses, undefined behaviour) and runs its tests with that.

    python scripts/sanitize.py        some 20 seconds; needs gcc

The build that is installed is not touched. By hand after a change in protocol/native, not one of the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
TESTS = [
    "tests/protocol/test_lanes.py",
    "tests/protocol/test_fernet.py",
    "tests/protocol/test_session_together.py",
]


def library(name: str) -> str:
    """The path of a library of gcc."""
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """The tests' exit status."""
    if shutil.which("gcc") is None:
        print("gcc is needed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="p2pd-sanitize-") as name:
        copy = Path(name)
        for each in ("protocol", "p2pd", "p2pctl", "tests"):
            shutil.copytree(ROOT / each, copy / each, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        shutil.copy(ROOT / "setup.cfg", copy)
        target = copy / "protocol" / f"_lanes{sysconfig.get_config_var('EXT_SUFFIX')}"
        include = sysconfig.get_paths()["include"]
        source = copy / "protocol/native/lanes.c"
        subprocess.run(
            ["gcc", *FLAGS, "-fPIC", "-shared", f"-I{include}", str(source), "-o", str(target)], check=True
        )
        environ = {
            **os.environ,
            "LD_PRELOAD": f"{library('libasan.so')} {library('libubsan.so')}",
            "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter keeps much until its end
            "PYTHONMALLOC": "malloc",  # so that every buffer has its own bounds
            "PYTHONPATH": name,
            "P2PD_TEST_EVERYTHING": "1",
        }
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
            cwd=copy,
            env=environ,
            check=False,
        ).returncode


if __name__ == "__main__":
    raise SystemExit(main())
