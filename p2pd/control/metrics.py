"""What a daemon counts, as Prometheus reads it (text, docs/operations.md). On the event loop.

The rule: figures are gathered when somebody asks, by what `status` is made of, into a registry of their own: nothing of the process that
nobody asked for. Names and labels hold no names of files, devices or people.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from p2pd.peer.service import PeerService

Figures = dict[str, Any]

_TRACKER_NOW = {
    "devices": "devices with a lease",
    "files": "entries that they list",
    "bans": "bans by hand in force",
    "sessions": "authenticated sessions",
    "connections": "connections, authenticated or not",
    "wants": "wishes that wait",
}
_TRACKER_SUMS = {
    "announces": "announces answered",
    "publishes": "changes of lists taken",
    "searches": "searches answered",
    "failed_proofs": "wrong passwords",
    "received_bytes": "octets of frames received",
    "sent_bytes": "octets of frames sent",
}


class Metrics:
    """See the module. `status` is that of control/status.py; `tracker` are the figures of the operator, or None."""

    def __init__(
        self,
        status: Callable[[], Awaitable[Figures]],
        peer: PeerService | None,
        tracker: Callable[[], Awaitable[Figures]] | None,
    ) -> None:
        self._status = status
        self._peer = peer
        self._tracker = tracker

    async def page(self) -> tuple[str, bytes]:
        """Content type and text."""
        families = [*_of_daemon(await self._status())]
        if self._tracker is not None:
            families += _of_tracker(await self._tracker())
        if self._peer is not None:
            families += _of_peer(await self._status(), self._peer)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Given(families))
        return CONTENT_TYPE_LATEST, generate_latest(registry)


class _Given(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_daemon(status: Figures) -> Iterator[Metric]:
    info = GaugeMetricFamily("p2pd_info", "this daemon", labels=["version"])
    info.add_metric([status["version"]], 1)
    yield info
    yield GaugeMetricFamily("p2pd_uptime_seconds", "since its start", value=status["uptime_s"])


def _of_tracker(figures: Figures) -> Iterator[Metric]:
    for name, text in _TRACKER_NOW.items():
        yield GaugeMetricFamily(f"p2pd_tracker_{name}", text, value=figures[name])
    for name, text in _TRACKER_SUMS.items():
        yield CounterMetricFamily(f"p2pd_tracker_{name}", text, value=figures[name])
    refusals = CounterMetricFamily("p2pd_tracker_refusals", "requests refused", labels=["reason"])
    for reason, count in figures["refusals_by_reason"].items():
        refusals.add_metric([reason], count)
    yield refusals


def _of_peer(status: Figures, peer: PeerService) -> Iterator[Metric]:
    shown = status["peer"]
    door = peer.admission.counts()
    yield GaugeMetricFamily("p2pd_peer_shares", "files shared", value=shown["shares"])
    yield GaugeMetricFamily("p2pd_peer_shared_bytes", "their octets", value=shown["shared_bytes"])
    yield GaugeMetricFamily("p2pd_peer_uploads", "peers that wait for blocks", value=shown["uploads"])
    yield GaugeMetricFamily(
        "p2pd_peer_sessions", "peers that are connected here", value=len(peer.router.conns)
    )
    yield GaugeMetricFamily("p2pd_peer_links", "peers that are dialled or used", value=len(peer.links.peers))
    yield GaugeMetricFamily("p2pd_peer_wants", "what is wanted", value=len(peer.wants.all(waiting=True)))
    yield CounterMetricFamily(
        "p2pd_peer_uploaded_bytes", "octets of files sent", value=shown["uploaded_bytes"]
    )
    yield CounterMetricFamily(
        "p2pd_peer_downloaded_bytes", "octets fetched and verified", value=shown["downloaded_bytes"]
    )
    yield CounterMetricFamily(
        "p2pd_peer_arrived_bytes", "octets fetched, verified or not", value=shown["arrived_bytes"]
    )
    yield CounterMetricFamily("p2pd_peer_failed_proofs", "wrong passwords", value=door["failed_proofs"])
    yield CounterMetricFamily("p2pd_peer_refused_connections", "refused at the door", value=door["refused"])
    transfers = GaugeMetricFamily("p2pd_peer_transfers", "downloads", labels=["state"])
    for state, count in status["transfers"].items():
        transfers.add_metric([state], count)
    yield transfers
    up = GaugeMetricFamily("p2pd_peer_tracker_up", "1: connected to this tracker", labels=["tracker"])
    for tracker in status["trackers"]:
        up.add_metric([tracker["address"]], tracker["state"] == "connected")
    yield up
