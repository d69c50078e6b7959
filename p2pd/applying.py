"""Which part of the daemon each live setting is given to.

The rule: every key that KEYS marks as live stands here once, and giving the same value again does no harm.
"""

from __future__ import annotations

from collections.abc import Callable

from p2pd import logs
from p2pd.config import KEYS, Quotas, Settings
from p2pd.logfile import LogFile
from p2pd.net.addresses import Endpoint
from p2pd.peer.bandwidth import DOWN, UP
from p2pd.peer.hooks import HookSettings
from p2pd.peer.service import PeerService
from p2pd.tracker.policy import Figures, Policy
from p2pd.tuning import Tuning


def open_log_file(log: logs.Log, settings: Settings) -> None:
    """Makes the settings of the log file hold. Raises Fault storage; then the one before goes on."""
    path = settings.log_file
    log.set_file(None if path is None else LogFile(path, settings.log_file_size, settings.log_file_count))


def register_log(tuning: Tuning, log: logs.Log) -> None:
    """The settings of the log."""

    def style(settings: Settings) -> None:
        log.style = settings.log_format

    tuning.on(lambda settings: logs.set_level(settings.log_level), "log.level")
    tuning.on(style, "log.format")
    tuning.on(lambda settings: open_log_file(log, settings), "log.file", "log.file_size", "log.file_count")


def figures(quotas: Quotas) -> Figures:
    """The quotas as the tracker's policy counts them, by the second."""
    return Figures(
        quotas.device_searches_per_s,
        quotas.device_announces_per_min / 60,
        quotas.device_publishes_per_s,
        quotas.network_searches_per_s,
        quotas.network_announces_per_min / 60,
        quotas.network_publishes_per_s,
        quotas.network_entries,
    )


def register_tracker(tuning: Tuning, policy: Policy) -> None:
    """The settings of a tracker."""
    keys = [name for name, key in KEYS.items() if name.startswith("quota.") and key.live]
    tuning.on(lambda settings: policy.change(figures(settings.quotas)), *keys)


def register_peer(tuning: Tuning, peer: PeerService, trackers: Callable[[Settings], list[Endpoint]]) -> None:
    """The settings of a peer. `trackers` says whom to dial: a tracker in this process listens where only it knows."""

    def limit(direction: str, rate: int) -> str:
        holds = peer.bandwidth.configure(direction, rate)
        return "" if holds else f"the limit that was set holds until `p2pctl limit {direction} default`"

    def share(settings: Settings) -> None:
        peer.share_downloads = settings.share_downloads

    def floor(settings: Settings) -> None:
        peer.space.floor = settings.free_floor

    def hooks(settings: Settings) -> None:
        peer.hooks.settings = HookSettings(settings.hooks, settings.hook_seconds)

    tuning.on(hooks, "hooks.download_done", "hooks.download_failed", "hooks.timeout_s")
    tuning.on(lambda settings: limit(UP, settings.limit_up), "limit.up")
    tuning.on(lambda settings: limit(DOWN, settings.limit_down), "limit.down")
    tuning.on(lambda settings: peer.downloads.set_max_active(settings.max_downloads), "peer.max_downloads")
    tuning.on(share, "peer.share_downloads")
    tuning.on(floor, "peer.free_floor")
    tuning.on(lambda settings: peer.set_trackers(trackers(settings)), "peer.trackers")
