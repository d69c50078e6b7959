"""What the peer tells of its shared files and folders as events. On the event loop.

The rule: nothing is decided here and nothing waits.
"""

from __future__ import annotations

from p2pd.events import Events
from p2pd.happenings import (
    ShareAdded,
    ShareChanged,
    ShareFailed,
    ShareRemoved,
    ShareRestored,
    ShareWithdrawn,
    error_of,
)
from p2pd.storage.state import Share
from p2pd.storage.state_folders import Folder
from protocol.errors import Fault
from protocol.ids import content_text


class ShareNews:
    """See the module."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def settled(self, before: bytes | None, share: Share | Folder) -> None:
        """It is hashed and served; `before` is the content that was shared there, if any."""
        files = share.files if isinstance(share, Folder) else None
        assert share.content_id is not None
        id, name, path, size = content_text(share.content_id), share.name, share.path, share.size
        if before is None:
            self._events.tell(ShareAdded(id, name, path, size, files, share.origin))
        elif before == share.content_id:
            self._events.tell(ShareRestored(id, name, path))
        else:
            self._events.tell(ShareChanged(id, content_text(before), name, path, size, files))

    def withdrawn(self, share: Share | Folder, reason: str) -> None:
        """It is not served for now."""
        state = "missing" if share.state == "error" else share.state
        self._events.tell(ShareWithdrawn(_id(share), share.name, share.path, state, reason))

    def removed(self, share: Share | Folder) -> None:
        """Somebody removed it."""
        self._events.tell(ShareRemoved(_id(share), share.name, share.path))

    def failed(self, share: Share | Folder, fault: Fault) -> None:
        """It never was shared."""
        self._events.tell(ShareFailed(share.name, share.path, error_of(fault)))


def _id(share: Share | Folder) -> str | None:
    return None if share.content_id is None else content_text(share.content_id)
