"""p2pd/control/doctor.py: the table is whole and described, and answers as the schema says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from p2pd.control.doctor import CHECKS, Doctor
from tests.fakes.schemas import validate
from tests.fakes.swarm import Swarm
from tests.p2pd.control.test_checks_machine import make

ROOT = Path(__file__).parents[3]


def document(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schema": "p2p.doctor/1", "items": items, "partial": False, "next": None, "warnings": []}


def test_ids_are_unique_and_described() -> None:
    ids = [check.id for check in CHECKS]
    assert len(set(ids)) == len(ids)
    text = (ROOT / "docs/control-api.md").read_text(encoding="utf-8")
    table = text.partition("### doctor\n")[2].partition("\n### ")[0]
    assert [name for name in ids if f"| `{name}` |" not in table] == []


async def progress(event: object) -> None:
    raise AssertionError(f"{event}")


def test_a_peer_and_a_tracker(tmp_path: Path) -> None:
    async def main() -> None:
        async with Swarm(tmp_path) as swarm:
            alice = await swarm.peer("alice")
            answer = await Doctor(make(tmp_path / "h", alice.keyring, alice)).methods["doctor"]({}, progress)
            assert {item["status"] for item in answer["items"]} == {"ok"}, answer
            validate("doctor", document(list(answer["items"])))
            seen = [item["check"] for item in answer["items"]]
            assert seen == [check.id for check in CHECKS if check.id != "listen"]
            tracker = await Doctor(make(tmp_path / "h")).methods["doctor"]({}, progress)
            assert "shares" not in [item["check"] for item in tracker["items"]]

    asyncio.run(main())
