"""Who lists the contents that several devices have, in memory: sets of devices as numbers, so that those who are here now are counted in
one step.

The rule: what is here is what the tables say, or it is not here: whoever changes entries tells it (`listed`, `forget`), and whatever is
rolled back or hidden by the hundred takes all of it away (`clear`). What a search needs and is not here is read then. Bounded:
what was not asked for the longest goes first.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field

from p2pd.storage.sqlite import Database
from p2pd.tracker.numbers_sqlite import json_list

KEPT = 400_000  # entries of all contents that are held here: some 40 MB
OVERHEAD = 8  # a content takes as much as so many entries
BITS = 20
PLACES = 2**16  # devices that have a place; when more were here since the last clearing, all begins anew


@dataclass(slots=True)
class Crowd:
    """Of one content: for each name the devices that list it so, as a set; and all dates, each with a device, the newest last."""

    names: dict[int, int] = field(default_factory=dict)
    dates: list[int] = field(default_factory=list)

    def sources(self, live: int) -> int:
        """How many of the devices in `live` list it."""
        devices = 0
        for listing in self.names.values():
            devices |= listing
        return (devices & live).bit_count()

    def served(self, live: int) -> list[int]:
        """The names (rows) under which devices in `live` list it."""
        return [name for name, listing in self.names.items() if listing & live]

    def newest(self, live: int) -> int:
        """The newest date of an entry of a device in `live`; 0 when there is none."""
        for dated in reversed(self.dates):
            if live >> (dated & (2**BITS - 1)) & 1:
                return dated >> BITS
        return 0


class Crowds:
    """Of a registry. Not for several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._crowds: dict[int, Crowd] = {}
        self._held = 0
        self._places: dict[int, int] = {}  # of devices in all sets, by row
        self._live = 0
        self._live_from = self._live_until = 0.0  # between these times, if no device is added or leaves

    # -- what changes -----------------------------------------------------------------------------------------

    def devices_changed(self) -> None:
        """A device came, left or is reached in another way."""
        self._live_until = self._live_from

    def listed(self, content: int, name: int, device: int, date: int) -> None:
        """A device lists a content under one more name, or for the first time."""
        crowd = self._crowds.get(content)
        if crowd is not None:
            self._put(crowd, name, device, date)
            self._held += 1

    def forget(self, contents: Iterable[int]) -> None:
        """The entries of these contents changed otherwise."""
        for content in contents:
            crowd = self._crowds.pop(content, None)
            if crowd is not None:
                self._held -= len(crowd.dates) + OVERHEAD

    def clear(self) -> None:
        """Anything may have changed."""
        self._crowds.clear()
        self._places.clear()
        self._held = 0
        self.devices_changed()

    # -- what is asked ----------------------------------------------------------------------------------------

    def live(self, now: float) -> int:
        """The set of devices with a lease and a port; good for what `of` gives until the next call of this."""
        if len(self._places) > PLACES:
            self.clear()
        if not self._live_from <= now < self._live_until:
            rows = self._database.query("SELECT id, lease FROM device WHERE lease > ? AND port > 0", (now,))
            bits = bytearray(b"0") * (len(rows) + len(self._places) + 1)
            for row, _ in rows:
                bits[-1 - self._place(row)] = 49  # "1"
            self._live = int(bits, 2)
            self._live_from = now
            self._live_until = min((lease for _, lease in rows), default=float("inf"))
        return self._live

    def of(self, contents: Iterable[int]) -> dict[int, Crowd]:
        """The entries of contents, by row. Those without are left out."""
        found: dict[int, Crowd] = {}
        missing = []
        for content in contents:
            crowd = self._crowds.pop(content, None)
            if crowd is None:
                missing.append(content)
            else:
                found[content] = self._crowds[content] = crowd  # asked for last
        if missing:
            found |= self._read(missing)
        return found

    # -- inside -----------------------------------------------------------------------------------------------

    def _place(self, device: int) -> int:
        return self._places.setdefault(device, len(self._places))

    def _put(self, crowd: Crowd, name: int, device: int, date: int) -> None:
        place = self._place(device)
        crowd.names[name] = crowd.names.get(name, 0) | 1 << place
        insort(crowd.dates, date << BITS | place)

    def _read(self, contents: list[int]) -> dict[int, Crowd]:
        found: dict[int, Crowd] = {}
        for content, name, device, date in self._database.query(
            "SELECT e.content, e.name, e.device, e.added_at FROM json_each(?) j CROSS JOIN entry e ON e.content = j.value"
            " CROSS JOIN device d ON d.id = e.device WHERE e.generation >= d.generation",
            (json_list(contents),),
        ):
            crowd = found.get(content)
            if crowd is None:
                crowd = found[content] = Crowd()
            place = self._places.setdefault(device, len(self._places))
            crowd.names[name] = crowd.names.get(name, 0) | 1 << place
            crowd.dates.append(date << BITS | place)
        for content, crowd in found.items():
            crowd.dates.sort()
            self._crowds[content] = crowd
            self._held += len(crowd.dates) + OVERHEAD
        while self._held > KEPT:
            self.forget([next(iter(self._crowds))])
        return found
