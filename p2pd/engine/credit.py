"""How much may be outstanding at one device, shared by all downloads that use it, and in blocks of which size.

Kleinrock's bandwidth-delay product with head room of two: a window of twice rate x round trip keeps the source's queue from running
dry while our next request travels. The round trip is the shortest that was seen, the first answer of a link above all, so that our
own queue does not inflate it. Blocks are what the source delivers in an eighth of a second: what a slow one has in its queue is then a
second or two, and can be taken back soon.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from protocol.limits import KIB, MAX_BLOCK, MAX_OUTSTANDING_BLOCKS

FLOOR = 12  # blocks: with 4 (one sealed, one on the wire, one opened, one asked for) every hiccup of a thread or disk is felt
START = 16
MIN_BLOCK = 16 * KIB
FIRST_BLOCK = 256 * KIB  # while the rate is not known
BLOCK_SECONDS = 0.125  # what one block should take
INTERVAL = 0.1  # seconds over which octets are counted for one sample of the rate
SMOOTHING = 1.0  # seconds in which an old rate loses two thirds of its weight
PATIENCE_MIN = 1.0  # seconds: a lost packet or a busy disk is no reason to take work back
PATIENCE_FIRST = 3.0  # from a source that has given nothing yet
PATIENCE_BLOCKS = 6  # and no block may take longer than so many do
KEPT = 256  # devices whose rate is remembered while nothing is asked of them


class Credit:
    """What is open at one device. `user` is any object that stands for one download."""

    __slots__ = (
        "_began",
        "_last",
        "_limit",
        "_octets",
        "_waiting",
        "by_user",
        "heard",
        "open",
        "rate",
        "round_trip",
        "size",
    )

    def __init__(self) -> None:
        self.size = START  # blocks
        self.open = 0  # blocks asked for and not answered, of all users
        self.by_user: dict[object, int] = {}
        self.rate = 0.0  # octets per second while something is open, smoothed; 0 when not known
        self.round_trip = math.inf  # seconds, the shortest seen
        self.heard = -math.inf  # when octets came last
        self._limit = MAX_OUTSTANDING_BLOCKS  # what trouble has left of it
        self._waiting: set[object] = set()  # users that want more
        self._began = 0.0  # when the sample under way began
        self._last = 0.0  # when octets of it came last
        self._octets = 0

    @property
    def block(self) -> int:
        """Octets to ask for in one request: a power of two."""
        if not self.rate:
            return FIRST_BLOCK
        octets = int(self.rate * BLOCK_SECONDS)
        return max(MIN_BLOCK, min(MAX_BLOCK, 1 << max(octets, 1).bit_length() - 1))

    @property
    def patience(self) -> float:
        """Seconds without an octet after which what is open here is overdue."""
        if not self.rate:
            return PATIENCE_FIRST
        way = self.round_trip if self.round_trip < math.inf else 0.0
        return max(PATIENCE_MIN, PATIENCE_BLOCKS * (self.block / self.rate) + 4 * way)

    def room(self, user: object) -> bool:
        """Whether `user` may ask for one more block: its share of the window, within what the protocol allows."""
        self._waiting.add(user)
        users = len(self._waiting | self.by_user.keys())
        share = max(1, self.size // users)
        return self.by_user.get(user, 0) < share and self.open < MAX_OUTSTANDING_BLOCKS

    def content(self, user: object) -> None:
        """`user` has nothing more to ask for now: its share is for the others."""
        self._waiting.discard(user)

    def take(self, user: object, now: float) -> None:
        """`user` asks for a block."""
        if not self.open:
            self._began, self._last, self._octets = now, now, 0
        self.open += 1
        self.by_user[user] = self.by_user.get(user, 0) + 1

    def give_back(self, user: object, octets: int, seconds: float, now: float) -> None:
        """A block that `user` asked for `seconds` ago came (so many octets) or will not come (0)."""
        self.open -= 1
        left = self.by_user[user] - 1
        if left:
            self.by_user[user] = left
        else:
            del self.by_user[user]
        if octets:
            self.heard = now
            self.round_trip = min(self.round_trip, max(seconds, 1e-4))
            self._count(octets, now)

    def answered_in(self, seconds: float) -> None:
        """A short question was answered in this time: a round trip without a queue."""
        if seconds > 0:
            self.round_trip = min(self.round_trip, max(seconds, 1e-4))

    def trouble(self) -> None:
        """A refusal for load: ask for less, and for more again step by step."""
        self._limit = self.size = max(1, self.size // 2)

    def _count(self, octets: int, now: float) -> None:
        if self.rate and now - self._last >= INTERVAL and self._last > self._began:
            self._sample(self._last)  # what came before a pause is no part of it
        self._octets += octets
        self._last = now
        if now - self._began < INTERVAL:
            return  # a burst says little
        self._sample(now)
        self._limit = min(MAX_OUTSTANDING_BLOCKS, self._limit + 1)
        target = math.ceil(2 * self.rate * self.round_trip / self.block)
        self.size = min(self._limit, max(FLOOR, min(MAX_OUTSTANDING_BLOCKS, max(target, self.size - 1))))

    def _sample(self, until: float) -> None:
        """One more sample of the rate: what came since the last one."""
        passed = until - self._began
        sample = self._octets / passed
        weight = 1.0 - math.exp(-passed / SMOOTHING)
        self.rate = sample if not self.rate else self.rate + weight * (sample - self.rate)
        self._began, self._octets = until, 0


class Credits:
    """The credit of every device that is asked for something. For one thread."""

    def __init__(self) -> None:
        self._by_source: dict[str, Credit] = {}

    def of(self, source: str) -> Credit:
        """The one credit of this device; a new one when it is not known."""
        credit = self._by_source.pop(source, None) or Credit()
        self._by_source[source] = credit  # the last used is last
        if len(self._by_source) > KEPT:
            for name, other in self._by_source.items():
                if not other.open and other is not credit:
                    del self._by_source[name]
                    break
        return credit

    def __iter__(self) -> Iterator[Credit]:
        return iter(self._by_source.values())
