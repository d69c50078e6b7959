"""p2pd/process.py: descriptors, manners, no core files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pd import process

ROOT = Path(__file__).resolve().parents[2]


def test_no_more_connections_than_files_may_be_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """libzmq spins at the limit of descriptors."""
    for soft, wanted, room in ((20_000, 10_500, 10_500), (4_096, 10_500, 3_072), (256, 10_500, 64)):
        monkeypatch.setattr(process.resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert process.room_for(wanted) == room
    assert "at most 3072 connections" in caplog.text
    monkeypatch.setattr(process.resource, "getrlimit", lambda _: (process.resource.RLIM_INFINITY,) * 2)
    assert process.room_for(50_000) == 50_000


def test_what_a_new_process_gets() -> None:
    """In a process of its own: none of it can be taken back."""
    program = """if True:
        import json, os, resource
        from p2pd import process
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        process.keep_no_core()
        process.raise_descriptor_limit(100)
        process.give_way(7)
        print(json.dumps([resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE),
                          os.getpriority(os.PRIO_PROCESS, 0)]))
    """
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    core, files, nice = json.loads(done.stdout)
    assert core == [0, 0]
    assert files[0] == (8292 if files[1] < 0 else min(8292, files[1]))
    assert nice == max(7, os.getpriority(os.PRIO_PROCESS, 0))
