"""Who sent wrong data, over all downloads: a device that does it again is left alone for a time, each time for longer.

One bad piece may come from a bad disk and costs its sender that file (download.py). The rule: nothing here is believed about a device
because another one says so; only pieces count that came whole from it over an authenticated link. Pure.
"""

from __future__ import annotations

PIECES = 2  # bad ones that make a ban; a retried or second download has met the first
BAN_SECONDS_FIRST = 600.0  # doubling
BAN_SECONDS_MAX = 24 * 3600.0
MEMORY_SECONDS = 24 * 3600.0  # after so long without a bad piece the count starts anew
KEPT = 4096  # devices remembered, the oldest forgotten first


class _Record:
    __slots__ = ("bad", "last", "until")

    def __init__(self) -> None:
        self.bad = 0
        self.last = 0.0
        self.until = 0.0


class Conduct:
    """The bad pieces of each device. Times are the caller's monotonic seconds. For one thread."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def bad(self, source: str, now: float) -> float:
        """This device sent a bad piece. For how many seconds it is banned from now on; 0 while it is not."""
        record = self._records.pop(source, None)
        if record is None or now - record.last > MEMORY_SECONDS:
            record = _Record()
        self._records[source] = record
        while len(self._records) > KEPT:
            del self._records[next(iter(self._records))]
        record.bad += 1
        record.last = now
        if record.bad < PIECES:
            return 0.0
        seconds = min(BAN_SECONDS_MAX, BAN_SECONDS_FIRST * 2.0 ** (record.bad - PIECES))
        record.until = now + seconds
        return seconds

    def count(self, source: str) -> int:
        """How many bad pieces of this device count."""
        record = self._records.get(source)
        return record.bad if record is not None else 0

    def remember(self, source: str, bad: int, seconds: float, now: float) -> None:
        """What an earlier run knew: so many bad pieces, and banned for so long from now."""
        record = self._records.setdefault(source, _Record())
        record.bad, record.last, record.until = max(record.bad, bad), now, max(record.until, now + seconds)

    def forgive(self, source: str) -> None:
        """Nothing counts against this device any more."""
        self._records.pop(source, None)

    def banned(self, source: str, now: float) -> float:
        """Seconds for which this device is still banned; 0 when it is not."""
        record = self._records.get(source)
        return max(0.0, record.until - now) if record is not None else 0.0
