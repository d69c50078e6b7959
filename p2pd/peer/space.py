"""Room on the disks that downloads are written to: what must stay free, and what running downloads are promised.

The rule: a download begins only when what it still needs fits beside what the others on that file system were promised, and none
goes on below the floor. So several that fit one by one do not fill a disk together, and the daemon never takes the last octets from
others. Any thread may call.
"""

from __future__ import annotations

import os
import threading

from p2pd.storage.root import DiskFull, Root, StorageMissing
from protocol.display import safe
from protocol.limits import MIB

FREE_FLOOR = 64 * MIB
"""What is left free unless the settings say otherwise: as much as a download may write between two looks at the disk, so that a look comes
before the end of the room."""


class Space:
    """`floor`: octets that stay free on each file system."""

    def __init__(self, floor: int = FREE_FLOOR) -> None:
        self.floor = floor
        self._lock = threading.Lock()
        self._promised: dict[str, tuple[int, int]] = {}  # transfer id -> file system, octets

    def check(self, root: Root, transfer_id: str, octets: int) -> None:
        """Raises DiskFull when `octets` more do not fit beside the floor and what other downloads are promised."""
        with self._lock:
            self._check(root, transfer_id, octets)

    def promise(self, root: Root, transfer_id: str, octets: int) -> None:
        """As `check`, and keeps the room for this download until `release`."""
        with self._lock:
            self._check(root, transfer_id, octets)
            self._promised[transfer_id] = (root.device, octets)

    def _check(self, root: Root, transfer_id: str, octets: int) -> None:
        free = root.free_bytes()
        others = sum(
            promised
            for name, (device, promised) in self._promised.items()
            if device == root.device and name != transfer_id
        )
        if free < octets + others + self.floor:
            taken = f", {others} of them are promised to other downloads" if others else ""
            raise DiskFull(
                f"not enough room in {safe(root.path)}: {octets} octets are needed and {self.floor} stay free,"
                f" {free} are free{taken}",
                "make room; it goes on by itself",
            )

    def written(self, root: Root, transfer_id: str, octets_left: int) -> None:
        """A running download needs `octets_left` more. Raises DiskFull when the floor is reached."""
        with self._lock:
            if transfer_id in self._promised:
                self._promised[transfer_id] = (root.device, octets_left)
        free = root.free_bytes()
        if octets_left and free < self.floor:
            raise DiskFull(
                f"only {free} octets are free in {safe(root.path)}, of which {self.floor} stay free",
                "make room; it goes on by itself",
            )

    def release(self, transfer_id: str) -> None:
        """This download runs no more."""
        with self._lock:
            self._promised.pop(transfer_id, None)


def check_mounted(root: Root) -> None:
    """Raises StorageMissing when the path of an open directory leads elsewhere now: its drive was unmounted, and what is written goes
    where nobody finds it."""
    try:
        same = os.path.samestat(os.stat(root.path), os.fstat(root.fd))
    except OSError:
        same = False
    if not same:
        raise StorageMissing(
            f"{safe(root.path)} is not there any more", "check that the drive is connected and mounted there"
        )
