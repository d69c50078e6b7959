"""The methods of the control API for whoever runs a tracker, and bans, which both roles have. On the event loop.

The rule: as in control/api.py, of which this is a part. A ban holds for every role of this daemon; what only a tracker can do is refused
by a daemon that is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta, Struct

from p2pd.control import params as read_params
from p2pd.control.items import Item, hit_item, timestamp
from p2pd.control.pages import cut, page
from p2pd.control.server import Method, Progress
from p2pd.happenings import Happening, PeerBanned, PeerUnbanned, ignored
from p2pd.net.bans import FOR_EVER, Ban, as_device, one_device, subject_of
from p2pd.peer.service import PeerService
from p2pd.storage.state_bans import HAND
from p2pd.tracker.operating import Operator
from protocol.display import quoted
from protocol.errors import Fault
from protocol.ids import before_prefix, device_text
from protocol.limits import CONTROL_PAGE
from protocol.tracker import MAX_TEXT

PAGE = 200  # items in one step of the registry


class BanParams(Struct, forbid_unknown_fields=True):
    """ban"""

    subject: read_params.Text
    for_s: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    reason: Annotated[str, Meta(max_length=MAX_TEXT)] | None = None


class Subject(Struct, forbid_unknown_fields=True):
    """unban"""

    subject: read_params.Text


class Files(Struct, forbid_unknown_fields=True):
    """tracker_files"""

    text: str | None = None
    cursor: str | None = None
    limit: read_params.PageSize | None = None


class Device(Struct, forbid_unknown_fields=True):
    """tracker_expire"""

    device: read_params.Text | None = None


class Operating:
    """See the module. Either role may be absent; `tell` is told of bans by hand."""

    def __init__(
        self,
        peer: PeerService | None,
        operator: Operator | None,
        tell: Callable[[Happening], object] = ignored,
    ) -> None:
        self._tell = tell
        self._peer = peer
        self._operator = operator
        self.methods: dict[str, Method] = {
            "ban": self.ban,
            "unban": self.unban,
            "bans": self.bans,
            "tracker_status": self.tracker_status,
            "tracker_peers": self.tracker_peers,
            "tracker_files": self.tracker_files,
            "tracker_expire": self.tracker_expire,
        }

    @property
    def _tracker(self) -> Operator:
        if self._operator is None:
            raise Fault(
                "refused",
                "this daemon is no tracker",
                "ask the daemon that is, with --home or --socket; p2pctl status shows the trackers of this one",
            )
        return self._operator

    # -- bans ---------------------------------------------------------------------------------------------

    async def ban(self, params: dict[str, Any], progress: Progress) -> Item:
        """Keeps a device or a network out of this daemon."""
        asked = read_params.read(BanParams, params)
        subject = await self._subject(asked.subject)
        if self._peer is not None and subject == device_text(self._peer.own_id):
            raise Fault("usage", "this is the device of this daemon itself")
        reason = " ".join((asked.reason or "").split())
        if len(reason.encode("utf-8", "replace")) > MAX_TEXT:
            raise Fault("usage", f"the reason has more than {MAX_TEXT} octets", "say it shorter")
        now = time.time()
        ban = Ban(subject, FOR_EVER if asked.for_s is None else now + asked.for_s, reason, now)
        if self._operator is not None:
            await self._operator.ban(ban)
        if self._peer is not None:
            self._peer.banning.ban(ban)
        self._tell(PeerBanned(subject, asked.for_s, HAND))
        return _item(ban, HAND, self._roles)

    async def unban(self, params: dict[str, Any], progress: Progress) -> Item:
        """Lets it in again, whoever banned it."""
        asked = read_params.read(Subject, params)
        subject = await self._subject(asked.subject, banned=True)
        found = False
        if self._operator is not None:
            found |= await self._operator.unban(subject)
        if self._peer is not None:
            found |= self._peer.banning.unban(subject)
        if found:
            self._tell(PeerUnbanned(subject))
        return {
            "subject": subject,
            "kind": "device" if as_device(subject) is not None else "network",
            "changed": found,
        }

    async def bans(self, params: dict[str, Any], progress: Progress) -> Item:
        """Everybody who is kept out."""
        asked = read_params.read(read_params.Page, params)
        found = await self._all_bans()
        keys = sorted(key for key in found if not asked.cursor or "\t".join(key) > asked.cursor)
        limit = asked.limit or CONTROL_PAGE
        items, rest = cut([_item(found[key][0], key[1], found[key][1]) for key in keys[:limit]])
        more = rest or len(keys) > limit
        return page(items, "\t".join(keys[len(items) - 1]) if more else None)

    async def _all_bans(self) -> dict[tuple[str, str], tuple[Ban, list[str]]]:
        """By subject and cause; each with the roles that it holds for."""
        found: dict[tuple[str, str], tuple[Ban, list[str]]] = {}
        if self._peer is not None:
            for kept in self._peer.banning.all():
                found[kept.ban.subject, kept.cause] = (kept.ban, ["peer"])
        if self._operator is not None:
            for ban, cause in await self._operator.bans():
                known = found.get((ban.subject, cause))
                found[ban.subject, cause] = (ban, ["peer", "tracker"] if known else ["tracker"])
        return found

    @property
    def _roles(self) -> list[str]:
        both = (("peer", self._peer), ("tracker", self._operator))
        return [name for name, role in both if role is not None]

    async def _subject(self, text: str, *, banned: bool = False) -> str:
        """The device or network that is meant; `banned`: look among bans first. Raises Fault usage, not_found, ambiguous."""
        text = text.strip()
        if as_device(text) is not None or "." in text or ":" in text:
            return subject_of(text)
        if before_prefix(text) is None:
            raise subject_of_nothing(text)
        found: list[bytes] = []
        if banned:
            devices = (as_device(subject) for subject, _ in await self._all_bans())
            found = [device for device in devices if device is not None]
        elif self._operator is not None:
            found = await self._operator.matching(text)
        if self._peer is not None and not banned:
            found += await self._peer.devices(text)
        return device_text(one_device(text, found))

    # -- tracker ------------------------------------------------------------------------------------------

    async def tracker_status(self, params: dict[str, Any], progress: Progress) -> Item:
        """All that this tracker counts."""
        read_params.read(read_params.Nothing, params)
        return {"kind": "status", **await self._tracker.figures()}

    async def tracker_peers(self, params: dict[str, Any], progress: Progress) -> Item:
        """The devices that this tracker lists."""
        asked = read_params.read(read_params.Page, params)
        found, after = await self._tracker.peers(asked.cursor or "", min(asked.limit or PAGE, PAGE))
        items = [
            {
                "kind": "peer",
                "device_id": device_text(listing.card.device_id),
                "host": listing.card.observed,
                "declared_host": listing.card.declared or None,
                "port": listing.card.port,
                "files": listing.files,
                "lease_ends_at": timestamp(listing.lease),
            }
            for listing in found
        ]
        return page(items, after or None)

    async def tracker_files(self, params: dict[str, Any], progress: Progress) -> Item:
        """The contents that this tracker lists, or those that match a text."""
        asked = read_params.read(Files, params)
        text = read_params.check_query(asked.text) if asked.text is not None else ""
        limit = min(asked.limit or PAGE, PAGE)
        found, after = await self._tracker.files(text, asked.cursor or "", limit)
        return page([{"kind": "file", **hit_item(hit, False)} for hit in found], after or None)

    async def tracker_expire(self, params: dict[str, Any], progress: Progress) -> Item:
        """Forgets absent devices, or one, now."""
        asked = read_params.read(Device, params)
        device_id, forgotten = await self._tracker.expire(asked.device or "")
        return {
            "kind": "expired",
            "device_id": device_text(device_id) if device_id else None,
            "forgotten": forgotten,
        }


def subject_of_nothing(text: str) -> Fault:
    """What cannot be banned."""
    return Fault(
        "usage",
        f"neither a device nor a network: {quoted(text)}",
        "p2pctl peers shows device ids (at a tracker: p2pctl tracker peers), 6 characters are enough; or write 10.0.0.7, or 10.0.0.0/8",
    )


def _item(ban: Ban, cause: str, roles: list[str]) -> Item:
    for_ever = ban.until == FOR_EVER
    return {
        "subject": ban.subject,
        "kind": "device" if as_device(ban.subject) is not None else "network",
        "cause": cause,
        "reason": ban.reason,
        "since_at": timestamp(ban.since),
        "until_at": None if for_ever else timestamp(ban.until),
        "left_s": None if for_ever else round(ban.left(time.time()), 1),
        "roles": roles,
    }
