"""The `status` of the daemon: figures gathered from the roles. On the event loop."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from p2pd.control.items import fault_item, timestamp
from p2pd.net.keyring import Keyring, Ring
from p2pd.peer.service import PeerService
from p2pd.peer.trackers import TrackerClient
from protocol.ids import device_text
from protocol.version import VERSION


class Status:
    """What stays the same for one run, and where the rest is asked."""

    def __init__(
        self,
        *,
        keyring: Keyring,
        device_id: bytes,
        roles: list[str],
        home: str,
        peer: PeerService | None,
        peer_listen: str,
        tracker_listen: str,
        tracker_stats: Callable[[], Awaitable[dict[str, Any]]] | None,
    ) -> None:
        self._keyring = keyring
        self._device_id = device_id
        self._roles = roles
        self._home = home
        self._peer = peer
        self._peer_listen = peer_listen
        self._tracker_listen = tracker_listen
        self._tracker_stats = tracker_stats
        self._started = time.monotonic()
        self._started_at = time.time()

    def uptime(self) -> float:
        """Seconds since the start."""
        return round(time.monotonic() - self._started, 3)

    async def report(self) -> dict[str, Any]:
        """The whole of it."""
        peer, ring = self._peer, self._keyring.ring
        report: dict[str, Any] = {
            "version": VERSION,
            "pid": os.getpid(),
            "uptime_s": self.uptime(),
            "started_at": timestamp(self._started_at),
            "network": ring.current.network,
            "key_check": ring.current.check_value,
            "epoch": ring.current.epoch,
            "rotation": self._rotation(ring),
            "device_id": device_text(self._device_id),
            "roles": self._roles,
            "home": self._home,
            "peer": None,
            "trackers": [],
            "tracker": None,
            "transfers": {"queued": 0, "active": 0, "paused": 0, "done": 0, "failed": 0},
            "rates": {"upload_bytes_per_s": 0, "download_bytes_per_s": 0},
            "limits": {"upload_bytes_per_s": None, "download_bytes_per_s": None},
        }
        if peer is not None:
            report.update(self._of_peer(peer))
        if self._tracker_stats is not None:
            stats = await self._tracker_stats()
            report["tracker"] = {
                "listen": self._tracker_listen,
                "devices": stats["devices"],
                "files": stats["files"],
                "searches": stats["searches"],
                "announces": stats["announces"],
                "refusals": stats["refusals"],
                "registry": stats["registry"],
                "trouble": stats["trouble"] or None,
            }
        return report

    def _rotation(self, ring: Ring) -> dict[str, Any] | None:
        if ring.previous is None:
            return None
        return {
            "previous_epoch": ring.previous.epoch,
            "previous_key_check": ring.previous.check_value,
            "ends_at": timestamp(ring.ends_at),
            "devices_old": sum(seen.on_old for seen in self._keyring.sightings()),
        }

    def troubles(self) -> list[dict[str, Any]]:
        """What keeps a tracker from talking to us and does not pass by itself: another key, a refusal."""
        trackers = [] if self._peer is None else self._peer.trackers
        found = [tracker.error for tracker in trackers if tracker.state in ("wrong_password", "refused")]
        return [item for fault in found if (item := fault_item(fault)) is not None]

    def _of_peer(self, peer: PeerService) -> dict[str, Any]:
        shares = peer.store.list_shares()
        folders = peer.store.list_folders()
        counts = peer.downloads.counts()
        up, down = peer.bandwidth.flow("up"), peer.bandwidth.flow("down")
        return {
            "peer": {
                "listen": self._peer_listen,
                "shares": len(shares) + sum(folder.files for folder in folders),
                "shared_bytes": sum(share.size for share in shares if share.state == "shared")
                + sum(folder.size for folder in folders if folder.state == "shared"),
                "uploads": peer.uploads.active,
                "uploaded_bytes": peer.uploads.uploaded,
                "streams": len(peer.streams.active),
                "downloaded_bytes": peer.downloads.received + peer.streams.received,
                "arrived_bytes": peer.downloads.arrived + peer.streams.arrived,
            },
            "trackers": [self._of_tracker(peer, tracker) for tracker in peer.trackers],
            "transfers": counts,
            "rates": {"upload_bytes_per_s": up.rate, "download_bytes_per_s": down.rate},
            "limits": {"upload_bytes_per_s": up.limit or None, "download_bytes_per_s": down.limit or None},
        }

    def _of_tracker(self, peer: PeerService, tracker: TrackerClient) -> dict[str, Any]:
        return {
            "address": str(tracker.endpoint),
            "state": tracker.state,
            "error": fault_item(tracker.error),
            "peers": tracker.peers,
            "files": tracker.files,
            "revision": peer.store.revision,
            "published_revision": tracker.published,
        }
