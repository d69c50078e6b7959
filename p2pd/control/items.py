"""What the control API shows: rows and running objects as maps of plain values (docs/control-api.md). Pure."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

from p2pd.peer.folders import Report
from p2pd.peer.transfer import Transfer
from p2pd.storage.state import Download, Share
from p2pd.storage.state_folders import Folder
from p2pd.storage.tree import Left
from protocol.errors import Fault
from protocol.ids import content_text, device_text
from protocol.tracker import Hit, Member

Item = dict[str, Any]

MAX_SHOWN = 300
"""Paths in one list of an answer; the counts are of all."""

_SHARE_STATES = {"error": "missing"}
HINTS = {
    "network": "p2pctl peers REF shows who has it; try again when one of them is up",
    "auth": "if the password of the swarm was replaced, p2pctl rotate gives this device the new one; then p2pctl retry",
    "integrity": "ask for another copy: p2pctl search shows what else there is",
    "storage": "make room, or bring the drive back; then try again",
    "exists": "choose another place with -o, or --exists rename or overwrite",
    "failure": "the daemon's log says more",
}
"""What to do about the error of a transfer, by its code: the database keeps code and message."""

_PHASES = {"running": "downloading"}


def timestamp(seconds: float | None) -> str | None:
    """Unix time as RFC 3339 UTC, whole seconds; None stays None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()[:19] + "Z"


def share_item(share: Share) -> Item:
    """A share, as in `list`."""
    return {
        "id": content_text(share.content_id) if share.content_id else None,
        "sha256": share.sha256.hex() if share.sha256 else None,
        "name": share.name,
        "path": share.path,
        "size_bytes": share.size,
        "files": None,
        "state": _SHARE_STATES.get(share.state, share.state),
        "shared_at": timestamp(share.added_at),
    }


def folder_item(folder: Folder) -> Item:
    """A shared folder, as in `list`."""
    return {
        "id": content_text(folder.content_id) if folder.content_id else None,
        "sha256": None,
        "name": folder.name,
        "path": folder.path,
        "size_bytes": folder.size,
        "files": folder.files,
        "state": folder.state,
        "shared_at": timestamp(folder.added_at),
    }


def report_item(report: Report) -> Item:
    """What a look at a folder found, as in `rescan`."""
    item = folder_item(report.folder)
    for key, paths in (("new", report.new), ("changed", report.changed), ("vanished", report.vanished)):
        item[key] = paths[:MAX_SHOWN]
        item[f"{key}_count"] = len(paths)
    return {
        **item,
        "previous_id": content_text(report.previous) if report.previous else None,
        **_left_out(report.left),
    }


def plan_item(path: str, name: str, files: int, size: int, left: list[Left], folder: bool = False) -> Item:
    """What `add` would share."""
    return {
        "id": None,
        "sha256": None,
        "name": name,
        "path": path,
        "size_bytes": size,
        "files": files if folder else None,
        "state": "planned",
        "shared_at": None,
        "added": False,
        "published": False,
        "warnings": [],
        **_left_out(left),
    }


def _left_out(left: list[Left]) -> Item:
    rules = [one for one in left if not one.failed]
    failed = [one for one in left if one.failed]
    return {
        "left_out": [{"path": one.path, "reason": one.reason} for one in rules[:MAX_SHOWN]],
        "left_out_count": len(rules),
        "failed": [{"path": one.path, "reason": one.reason} for one in failed[:MAX_SHOWN]],
        "failed_count": len(failed),
    }


def hit_item(hit: Hit, local: bool) -> Item:
    """A content, as in `search`."""
    return {
        "id": content_text(hit.content_id),
        "sha256": None if hit.files else hit.sha256.hex(),
        "name": hit.names[0],
        "names": list(hit.names),
        "size_bytes": hit.size,
        "files": hit.files or None,
        "sources": max(0, hit.sources - 1) if local else hit.sources,
        "shared_at": timestamp(hit.added_at),
        "local": local,
    }


def own_hit_item(share: Share) -> Item:
    """A share of this device, in the form of a search hit."""
    assert share.content_id is not None
    assert share.sha256 is not None
    return {
        "id": content_text(share.content_id),
        "sha256": share.sha256.hex(),
        "name": share.name,
        "names": [share.name],
        "size_bytes": share.size,
        "files": None,
        "sources": 0,
        "shared_at": timestamp(share.added_at),
        "local": True,
    }


def member_item(member: Member, own_id: bytes) -> Item:
    """A device, as in `peers`."""
    return {
        "device_id": device_text(member.device_id),
        "host": member.host,
        "port": member.port,
        "self": member.device_id == own_id,
        "files": member.files,
    }


def fault_item(fault: Fault | None) -> Item | None:
    """The `error` of a transfer or tracker."""
    if fault is None:
        return None
    return {"code": fault.code, "message": fault.message, "hint": fault.hint}


def transfer_item(found: Transfer | Download, sha256: str | None) -> Item:
    """A transfer, running or over. `sha256`: of the manifest, if it is known."""
    running = found if isinstance(found, Transfer) else None
    row = found.row if isinstance(found, Transfer) else found
    state = row.state if row.final else running.phase if running is not None else row.state
    if not row.final and row.state in ("disk_full", "missing_storage"):
        state = row.state
    received = (
        row.size if row.state == "done" else running.verified if running is not None else row.received_bytes
    )
    rate, eta = 0, None
    ended = row.finished_at if row.finished_at is not None else time.time()
    duration = max(0.0, ended - row.created_at)
    fetched = max(0, received - row.resumed_bytes)
    if row.final:
        rate = int(fetched / duration) if duration > 0 else 0
    elif running is not None and running.running:
        rate = running.rate
        if rate > 0 and running.manifest is not None:
            eta = round((row.size - received) / rate, 1)
    error = None
    if row.error_code is not None:
        hint = HINTS.get(row.error_code, "")
        if state == "retrying":
            hint = f"it is tried again by itself; p2pctl cancel {row.transfer_id} gives it up"
        error = {"code": row.error_code, "message": row.error or "", "hint": hint}
    sources = list(dict.fromkeys([*row.givers, *(running.givers.values() if running is not None else ())]))
    return {
        "transfer": row.transfer_id,
        "id": content_text(row.content_id),
        "sha256": sha256,
        "name": row.name,
        "files": row.files or None,
        "state": _PHASES.get(state, state),
        "size_bytes": row.size,
        "received_bytes": received,
        "resumed_bytes": running.resumed if running is not None else row.resumed_bytes,
        "rate_bytes_per_s": rate,
        "eta_s": eta,
        "limit_bytes_per_s": row.limit or None,
        "sources": running.sources if running is not None and not row.final else len(sources),
        "from": sources[:50],
        "path": row.path if row.path is not None else os.path.join(row.directory, row.target_name),
        "error": error,
        "retries": row.retries,
        "retry_at": timestamp(row.retry_at) if state == "retrying" else None,
        "created_at": timestamp(row.created_at),
        "finished_at": timestamp(row.finished_at),
        "duration_s": round(duration, 3),
        "verified": row.state == "done",
        "sha256_checked": row.state == "done" and bool(row.check_sha256),
    }


def progress_item(transfer: Transfer) -> Item:
    """A progress event of `wait`."""
    item = transfer_item(transfer, None)
    keys = (
        "transfer",
        "name",
        "state",
        "received_bytes",
        "size_bytes",
        "resumed_bytes",
        "rate_bytes_per_s",
        "eta_s",
        "sources",
    )
    return {key: item[key] for key in keys}
