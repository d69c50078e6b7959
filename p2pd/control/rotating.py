"""The methods `rotate` and `rotate_devices` of the control API: steps of a change of the network key, and who still uses the older one."""

from __future__ import annotations

from typing import Any

from p2pd.control import params as read_params
from p2pd.control.items import Item, timestamp
from p2pd.control.pages import page
from p2pd.control.server import Method, Progress
from p2pd.net.keyring import Ring, Sighting
from p2pd.rotation import Report, Rotation, Wish
from protocol.errors import Fault, RemoteProtocolError
from protocol.ids import device_from_text, device_text
from protocol.limits import CONTROL_PAGE, ROTATION_SECONDS


class Rotating:
    """See the module. `own`: device ids of this daemon."""

    def __init__(self, rotation: Rotation, own: set[bytes]) -> None:
        self._rotation = rotation
        self._own = own
        self.methods: dict[str, Method] = {"rotate": self.rotate, "rotate_devices": self.devices}

    async def rotate(self, params: dict[str, Any], progress: Progress) -> Item:
        """Tells how a rotation stands, or takes a step of it."""
        asked = read_params.read(read_params.Rotate, params)
        action = asked.action or "status"
        if action != "begin" and (asked.password is not None or asked.invite or asked.epoch is not None):
            raise Fault("usage", f"a new secret is for a rotation that begins, not for {action}")
        if action == "begin":
            return self._item(await self._rotation.begin(_wish(asked)))
        if action == "finish":
            return self._item(await self._rotation.finish())
        if action == "abort":
            return self._item(await self._rotation.abort())
        return self._item(self._rotation.report())

    async def devices(self, params: dict[str, Any], progress: Progress) -> Item:
        """The devices that were seen in this rotation: those that use the older key, or all."""
        asked = read_params.read(read_params.RotateDevices, params)
        report = self._rotation.report()
        after = _cursor(asked.cursor)
        found = [s for s in report.seen if s.device_id > after and (asked.all or s.on_old)]
        limit = asked.limit or CONTROL_PAGE
        items = [self._device(sighting, report.ring) for sighting in found[:limit]]
        following = device_text(found[limit - 1].device_id) if len(found) > limit else None
        return {**page(items, following), "partial": False, "warnings": []}

    def _item(self, report: Report) -> Item:
        ring = report.ring
        previous = ring.previous
        return {
            "state": "none" if previous is None else "overlap",
            "network": ring.current.network,
            "epoch": ring.current.epoch,
            "key_check": ring.current.check_value,
            "previous_epoch": None if previous is None else previous.epoch,
            "previous_key_check": None if previous is None else previous.check_value,
            "began_at": None if previous is None else timestamp(ring.began_at),
            "ends_at": None if previous is None else timestamp(ring.ends_at),
            "devices_old": sum(seen.on_old for seen in report.seen),
            "devices_new": sum(not seen.on_old for seen in report.seen),
            "changed": report.changed,
            "invite": report.invite,
        }

    def _device(self, sighting: Sighting, ring: Ring) -> Item:
        secret = ring.previous if sighting.on_old and ring.previous is not None else ring.current
        return {
            "device_id": device_text(sighting.device_id),
            "host": sighting.host,
            "self": sighting.device_id in self._own,
            "state": "old" if sighting.on_old else "new",
            "epoch": secret.epoch,
            "key_check": secret.check_value,
            "seen_at": timestamp(sighting.old_at if sighting.on_old else sighting.new_at),
            "ends_at": timestamp(ring.ends_at),
        }


def _wish(asked: read_params.Rotate) -> Wish:
    if (asked.password is None) != bool(asked.invite):
        raise Fault("usage", "either a new password or a new invite", "p2pctl help rotate shows how")
    overlap = ROTATION_SECONDS if asked.overlap_s is None else asked.overlap_s
    return Wish(asked.password, overlap, asked.epoch, bool(asked.allow_weak))


def _cursor(cursor: str | None) -> bytes:
    if not cursor:
        return b""
    try:
        return device_from_text(cursor)
    except RemoteProtocolError as error:
        raise Fault("usage", "bad cursor", "take it from `next` of the page before") from error
