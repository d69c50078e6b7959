"""The method `verify` of the control API. On the event loop.

The rule: it is work for whoever asks. Results travel in progress events, a batch at a time, so that any number of files
fits; when the client goes away the reading stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from p2pd.control import params as read_params
from p2pd.control.items import Item, fault_item
from p2pd.control.server import Progress
from p2pd.peer.service import PeerService
from p2pd.peer.verifying import Run, Target, Verdict
from protocol.errors import Fault

PROGRESS_SECONDS = 0.2
BATCH = 500  # results in one event: far below the limit of a reply
MAX_BAD = 100  # indexes of damaged pieces that an item names


async def verify(peer: PeerService, params: dict[str, Any], progress: Progress) -> Item:
    """Verifies what was asked for; the sums."""
    asked = read_params.read(read_params.Verify, params)
    if bool(asked.refs) == bool(asked.all):
        raise Fault("usage", "either `refs` or `all`")
    if asked.restore_changed and not asked.repair:
        raise Fault("usage", "`restore_changed` needs `repair`")
    verifier = peer.verifier
    targets: dict[tuple[str, bytes], Target] = {}
    every = (
        verifier.targets() if asked.all else [one for ref in asked.refs or () for one in verifier.find(ref)]
    )
    for target in every:
        targets.setdefault((target.path, target.content_id), target)
    run = Run(list(targets.values()))
    counts: dict[str, int] = {}
    ready: list[Item] = []

    async def work() -> None:
        verdicts = verifier.run(
            run, list(targets.values()), repair=bool(asked.repair), restore=bool(asked.restore_changed)
        )
        async with contextlib.aclosing(verdicts):
            async for verdict in verdicts:
                counts[verdict.state] = counts.get(verdict.state, 0) + 1
                ready.append(verdict_item(verdict))

    def event() -> Item:
        items = ready[:BATCH]
        del ready[:BATCH]
        return {
            "stage": run.stage,
            "name": run.current,
            "done_bytes": run.done,
            "total_bytes": run.total,
            "items": items,
        }

    task = asyncio.create_task(work(), name="verify")
    try:
        while not task.done():
            await progress(event())
            await asyncio.wait({task}, timeout=PROGRESS_SECONDS)
        while ready:
            await progress(event())
        task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return {
        "files": len(targets),
        "size_bytes": run.total,
        **{state: counts.get(state, 0) for state in STATES},
    }


STATES = ("good", "repaired", "damaged", "changed", "missing", "unreadable", "unknown")


def verdict_item(verdict: Verdict) -> Item:
    """One file, as in `verify`."""
    target = verdict.target
    return {
        "id": target.content_id.hex(),
        "name": target.name,
        "path": target.path,
        "size_bytes": target.size,
        "kind": target.kind,
        "transfer": target.download.transfer_id if target.download is not None else None,
        "state": verdict.state,
        "pieces": verdict.pieces,
        "bad_pieces": len(verdict.bad),
        "bad": verdict.bad[:MAX_BAD],
        "error": fault_item(verdict.fault),
    }
