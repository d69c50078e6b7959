"""What else a tracker with many files costs, for bench/tracker.py: a listing of everything, and devices that are only here."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import MIB, Daemon, cpu_seconds, environment, memory
from tracker_clients import Clients


def everything(tracker: Daemon, base: Path, cpu: Callable[[], float]) -> dict[str, Any]:
    """`p2pctl --jsonl all_files` through a daemon, and the memory of all three."""
    words = [
        "peer",
        "--tracker",
        tracker.where,
        "--listen",
        "127.0.0.1:0",
        "--password-file",
        "secret.txt",
    ]
    peer = Daemon("peer", words, base)
    try:
        peer.control("search", "report")
        before = memory(peer.process.pid), memory(tracker.process.pid)
        spent_before = cpu_seconds(peer.process.pid), cpu()
        command = [sys.executable, "-m", "p2pctl", "--home", str(peer.home), "--jsonl", "all_files"]
        begun = time.perf_counter()
        listing = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE)
        counter = subprocess.Popen(["wc", "-l"], stdin=listing.stdout, stdout=subprocess.PIPE, text=True)
        most, spent = 0, 0.0
        while listing.poll() is None:
            try:
                most, spent = memory(listing.pid, "VmHWM"), cpu_seconds(listing.pid)
            except (OSError, IndexError):
                break  # it ends just now
            time.sleep(0.05)
        seconds = time.perf_counter() - begun
        lines = int(counter.communicate()[0])
        return {
            "all_files_lines": lines,
            "all_files_s": seconds,
            "all_files_cpu_s": {
                "tracker": cpu() - spent_before[1],
                "daemon": cpu_seconds(peer.process.pid) - spent_before[0],
                "client": spent,
            },
            "all_files_peak_mib": {
                "tracker": memory(tracker.process.pid, "VmHWM") / MIB,
                "daemon": memory(peer.process.pid, "VmHWM") / MIB,
                "client": most / MIB,
            },
            "all_files_before_mib": {"daemon": before[0] / MIB, "tracker": before[1] / MIB},
            "all_files_status": listing.wait(),
        }
    finally:
        peer.stop()


async def devices(
    tracker: Daemon, clients: Clients, announcing: int, cpu: Callable[[], float]
) -> dict[str, Any]:
    """What a device costs that is only here: memory of its session, CPU of its handshake and of an announce."""
    results: dict[str, Any] = {}
    rss, spent = memory(tracker.process.pid), cpu()
    links = [await clients.connect(3_000_000)]
    links += await asyncio.gather(*(clients.connect(3_000_000 + n) for n in range(1, 100)))
    results["device_session_kib"] = (memory(tracker.process.pid) - rss) / 1024 / len(links)
    results["device_handshake_cpu_ms"] = 1000 * (cpu() - spent) / len(links)
    spent = cpu()
    for _ in range(5):
        await asyncio.gather(*(clients.announce(link, 1) for link in links))
    results["device_announce_cpu_ms"] = 1000 * (cpu() - spent) / 5 / len(links)
    clients.close(links)
    if announcing:
        begun, spent = time.perf_counter(), cpu()
        for start in range(0, announcing, 100):
            links = await asyncio.gather(*(clients.connect(4_000_000 + start + n) for n in range(100)))
            await asyncio.gather(*(clients.announce(link, 1) for link in links))
            clients.close(links)
        results["announced_devices"] = announcing
        results["announced_s"] = time.perf_counter() - begun
        results["announced_cpu_s"] = cpu() - spent
        results["announced_rss_mib"] = memory(tracker.process.pid) / MIB
    return results
