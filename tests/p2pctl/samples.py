"""Items as docs/control-api.md describes them, for the tests of the client."""

from __future__ import annotations

from typing import Any

ID = "7f3a91c2" + "0" * 56
OTHER = "0be4d7aa" + "1" * 56
SHA256 = "ab" * 32
SHARED_AT = "2026-08-18T09:12:44Z"
HOSTILE = "a\t\x1b[31m\u202eb.txt"
SAFE = "a\\u{9}\\u{1b}[31m\\u{202e}b.txt"


def share(**changes: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "sha256": SHA256,
        "name": "example.txt",
        "size_bytes": 1024,
        "files": None,
        "path": "/data/example.txt",
        "state": "shared",
        "shared_at": SHARED_AT,
        **changes,
    }


def hit(**changes: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "sha256": SHA256,
        "name": "example.txt",
        "names": ["example.txt"],
        "size_bytes": 1503238553,
        "files": None,
        "sources": 3,
        "shared_at": SHARED_AT,
        "local": False,
        **changes,
    }


def transfer(**changes: Any) -> dict[str, Any]:
    return {
        "transfer": "t-1",
        "id": ID,
        "sha256": SHA256,
        "name": "example.txt",
        "files": None,
        "state": "done",
        "size_bytes": 1024,
        "received_bytes": 1024,
        "resumed_bytes": 0,
        "rate_bytes_per_s": 10240,
        "eta_s": None,
        "limit_bytes_per_s": None,
        "sources": 1,
        "from": ["192.168.1.100:8001"],
        "path": "/home/ana/downloaded_example.txt",
        "error": None,
        "retries": 0,
        "retry_at": None,
        "created_at": SHARED_AT,
        "finished_at": SHARED_AT,
        "duration_s": 0.1,
        "verified": True,
        "sha256_checked": False,
        **changes,
    }


def begun(**changes: Any) -> dict[str, Any]:
    return transfer(
        **{
            "state": "downloading",
            "received_bytes": 0,
            "sources": 0,
            "from": [],
            "verified": False,
            **changes,
        }
    )


def peer(**changes: Any) -> dict[str, Any]:
    return {
        "device_id": "d" * 32,
        "host": "192.168.1.100",
        "port": 8001,
        "self": False,
        "files": 3,
        **changes,
    }


def page(*items: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"items": list(items), "next": None, "partial": False, "warnings": [], **changes}


STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 4711,
    "uptime_s": 18720.0,
    "started_at": SHARED_AT,
    "network": "lab",
    "key_check": "k-3fd2a901",
    "epoch": 0,
    "rotation": None,
    "device_id": "d" * 32,
    "roles": ["peer", "tracker"],
    "home": "/home/ana/.local/state/p2pd",
    "peer": {
        "listen": "192.168.1.100:8001",
        "shares": 1,
        "shared_bytes": 1024,
        "uploads": 2,
        "streams": 0,
        "uploaded_bytes": 0,
        "downloaded_bytes": 0,
        "arrived_bytes": 0,
    },
    "trackers": [
        {
            "address": "hub:9000",
            "state": "connected",
            "error": None,
            "peers": 5,
            "files": 120,
            "revision": 4,
            "published_revision": 3,
        },
        {
            "address": "old:9000",
            "state": "wrong_password",
            "error": {"code": "auth", "message": "the password differs", "hint": ""},
            "peers": None,
            "files": None,
            "revision": 4,
            "published_revision": None,
        },
    ],
    "tracker": {
        "listen": "192.168.1.100:9000",
        "devices": 5,
        "files": 120,
        "searches": 9,
        "announces": 12,
        "refusals": 0,
        "registry": "/home/ana/.local/state/p2pd/tracker/tracker.db",
        "trouble": None,
    },
    "transfers": {"queued": 0, "active": 1, "paused": 0, "done": 7, "failed": 0},
    "rates": {"upload_bytes_per_s": 0, "download_bytes_per_s": 36700160},
    "limits": {"upload_bytes_per_s": None, "download_bytes_per_s": None},
}


def ban(**changes: Any) -> dict[str, Any]:
    return {
        "subject": "d" * 32,
        "kind": "device",
        "cause": "hand",
        "reason": "noise",
        "since_at": SHARED_AT,
        "until_at": SHARED_AT,
        "left_s": 3600.0,
        "roles": ["peer", "tracker"],
        **changes,
    }


LISTED: dict[str, Any] = {
    "kind": "peer",
    "device_id": "d" * 32,
    "host": "192.168.1.100",
    "declared_host": None,
    "port": 8001,
    "files": 3,
    "lease_ends_at": SHARED_AT,
}


def want(**changes: Any) -> dict[str, Any]:
    return {
        "want": "w-1",
        "what": "holiday video",
        "state": "wanted",
        "transfer": None,
        "transfer_state": None,
        "directory": "/data",
        "path": None,
        "error": None,
        "created_at": SHARED_AT,
        "changed_at": SHARED_AT,
        **changes,
    }
