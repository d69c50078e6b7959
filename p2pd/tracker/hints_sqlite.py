"""In which era of the SQLite registry a name or content may be, so that what is new is not looked for, and what is there in one place.

The rule: a key that was learned is never said to be nowhere. What is said may be wrong otherwise: whoever looks there and finds nothing
looks into all eras. A table of numbers in memory, of a size that does not depend on how many keys there are: a key has two octets,
its era and a check of itself, at the first free place behind its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from mmap import mmap
from typing import TypeVar

T = TypeVar("T")

SLOTS = 2**24  # two octets each
PROBES = (
    8  # places where a key may be; with as many keys as a tracker holds, one in a thousand finds none free
)
ANY = -1  # an answer: look into all eras
_CODES = 254
_CHECKS = 256
_SEVERAL = 0xFFFF  # no code has this: keys that found no place are here


class Hints:
    """Of one table. Keys are any numbers whose bits are evenly spread."""

    def __init__(self) -> None:
        self._slots = memoryview(mmap(-1, 2 * SLOTS)).cast("H")  # takes memory as it fills
        self._eras: dict[int, int] = {}  # the newest era with a code
        self.learned = 0
        """How many keys. None is ever forgotten: those of rows that are gone fill the table."""

    def learn(self, era: int, keys: Iterable[int], all_there: bool = False) -> None:
        """Rows with these keys are in `era`. `all_there`: all that was learned is there still, so a key of another era is in both."""
        code = era % _CODES + 1
        self._eras[code] = max(era, self._eras.get(code, 0))
        slots, size, learned = self._slots, SLOTS, 0
        for key in keys:
            learned += 1
            place = key % size
            entry = (key >> 24) % _CHECKS << 8 | code
            if not slots[place]:  # as it is with most
                slots[place] = entry
                continue
            for _ in range(PROBES):
                value = slots[place]
                if value == _SEVERAL:
                    break
                if not value or value >> 8 == entry >> 8:
                    slots[place] = _SEVERAL if all_there and value not in (0, entry) else entry
                    break
                place = (place + 1) % size
            else:
                slots[key % size] = _SEVERAL
        self.learned += learned

    def scatter(self, keys: Iterable[int]) -> None:
        """These may be in several eras: who asks for one looks into all."""
        for key in keys:
            self._slots[key % SLOTS] = _SEVERAL

    def ask(self, keys: Mapping[T, int]) -> dict[T, int]:
        """For each of these keys that may be there: the era in which it is likeliest, or ANY."""
        found: dict[T, int] = {}
        slots = self._slots
        for one, key in keys.items():
            place = key % SLOTS
            value = slots[place]
            if not value:  # as it is with most
                continue
            check = (key >> 24) % _CHECKS
            for _ in range(PROBES):
                if not value:
                    break
                if value == _SEVERAL:
                    found[one] = ANY
                    break
                if value >> 8 == check:
                    found[one] = self._eras[value & 0xFF]
                    break
                place = (place + 1) % SLOTS
                value = slots[place]
        return found
