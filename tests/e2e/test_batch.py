"""p2pctl batch with a real daemon: a program that talks to it line by line, and a thousand lines."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.fakes.processes import Swarm, make_file
from tests.fakes.schemas import validate_item


def test_a_program_writes_a_line_reads_its_answer_and_writes_the_next(swarm: Swarm) -> None:
    bob = swarm.make("bob", "peer", "--with-tracker").start().connected()
    path = make_file(swarm.directory / "two words.bin", 1000)
    words = ["--home", str(bob.home), "--jsonl", "batch", "--keep-going"]
    with subprocess.Popen(
        [sys.executable, "-m", "p2pctl", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=bob.environ,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(line: str) -> dict[str, Any]:
            process.stdin.write(line + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            record = json.loads(process.stdout.readline())  # type: ignore[union-attr]
            validate_item("batch", record)
            return record  # type: ignore[no-any-return]

        added = ask(f"add '{path}'")
        assert added["exit"] == 0
        id = added["document"]["items"][0]["id"]
        assert ask(f"info {id[:8]}")["document"]["items"][0]["name"] == "two words.bin"
        assert ask("info nothing.bin")["error"]["code"] == "not_found"
        bob.end()
        gone = ask("list")
        assert (gone["exit"], gone["error"]["code"]) == (3, "no_daemon")
        bob.start().connected()
        assert ask("list")["document"]["items"][0]["id"] == id
        process.stdin.write("info 'two words.bin'\n" * 500)
        process.stdin.close()
        records = [json.loads(line) for line in process.stdout]
        assert [record["exit"] for record in records] == [0] * 500
        assert [record["line"] for record in records] == list(range(6, 506))
        assert process.wait(20) == 12
        assert process.stderr is not None
        assert process.stderr.read() == ""
