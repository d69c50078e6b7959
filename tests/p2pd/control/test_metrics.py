"""p2pd/control/metrics.py: what Prometheus reads, of both roles."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from p2pd.control.metrics import Metrics
from tests.fakes.asker import Asker, put, run
from tests.fakes.swarm import Member

TRACKER: dict[str, Any] = {
    **dict.fromkeys(("devices", "files", "bans", "sessions", "connections", "wants"), 3),
    **dict.fromkeys(
        ("announces", "publishes", "searches", "failed_proofs", "received_bytes", "sent_bytes"), 5
    ),
    "refusals_by_reason": {"banned": 2, "busy": 1},
}


def samples(page: tuple[str, bytes]) -> dict[tuple[str, tuple[str, ...]], float]:
    """Name and label values -> value."""
    kind, text = page
    assert kind.startswith("text/plain; version=")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_of_a_tracker() -> None:
    async def status() -> dict[str, Any]:
        return {"version": "1.2.3", "uptime_s": 7.5}

    async def figures() -> dict[str, Any]:
        return TRACKER

    found = samples(asyncio.run(Metrics(status, None, figures).page()))
    assert found["p2pd_info", ("1.2.3",)] == 1
    assert found["p2pd_uptime_seconds", ()] == 7.5
    assert found["p2pd_tracker_devices", ()] == 3
    assert found["p2pd_tracker_received_bytes_total", ()] == 5
    assert found["p2pd_tracker_refusals_total", ("banned",)] == 2
    assert not any(name.startswith(("python_", "process_", "p2pd_peer")) for name, _ in found)


def test_of_a_peer(tmp_path: Path) -> None:
    async def work(alice: Asker, bob: Asker, a: Member, b: Member) -> None:
        await alice("add", path=put(a))
        await bob("want", text="never", directory=str(b.files))
        await bob("wait", transfer=(await bob("download", ref="a.bin", directory=str(b.files)))["transfer"])

        async def page(ask: Asker, member: Member) -> dict[tuple[str, tuple[str, ...]], float]:
            async def status() -> dict[str, Any]:
                return dict(await ask("status"))

            return samples(await Metrics(status, member.service, None).page())

        of_alice, of_bob = await page(alice, a), await page(bob, b)
        assert of_alice["p2pd_peer_shares", ()] == 1
        assert of_alice["p2pd_peer_uploaded_bytes_total", ()] == 70_000
        assert of_bob["p2pd_peer_downloaded_bytes_total", ()] == 70_000
        assert of_bob["p2pd_peer_transfers", ("done",)] == 1
        assert of_bob["p2pd_peer_wants", ()] == 1
        assert of_bob["p2pd_peer_failed_proofs_total", ()] == 0
        [up] = [value for (name, _), value in of_bob.items() if name == "p2pd_peer_tracker_up"]
        assert up == 1

    run(tmp_path, work)
