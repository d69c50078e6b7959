"""The pause before a tracker that was lost is dialled again, and who may end it. On the event loop.

The rule: pauses grow and are jittered, so that a restarted tracker is not met by everybody at once. Whoever waits for an answer need not
wait for the end of one, unless the far end gave a reason for it, or it has just begun: so a script that asks in a loop dials no faster
than the shortest pause. Knows no links.
"""

from __future__ import annotations

import asyncio
import random

from p2pd.net.outcome import Lost
from protocol.errors import Refusal

RETRY_MAX = 120.0  # what was said without authentication must not keep us away for long
RETRY_BANNED = 30.0  # a ban may be lifted any time
WRONG_PASSWORD_SECONDS = 30.0
LEAST_SECONDS = 0.5  # of a pause, whoever waits


class Redial:
    """The pauses of one tracker."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._go = asyncio.Event()
        self._since: float | None = None  # the loop's time, while there is a pause that may be ended

    @property
    def resting(self) -> bool:
        """True in a pause that `hurry` may end, if not at once."""
        return self._since is not None

    def lost(self, state: str, lost: Lost) -> None:
        """An attempt or a link is over; `rest` comes next."""
        reason = lost.retry_s or lost.refusal
        self._since = asyncio.get_running_loop().time() if state == "unreachable" and not reason else None

    async def rest(self, state: str, lost: Lost, backoff: float) -> None:
        """Returns when the next attempt is due: after `backoff` seconds, or longer if the tracker or its state asks for that, or
        when the pause was ended."""
        delay = backoff
        if state == "wrong_password":
            # Each try is counted as a guess and may ban this address, where others with the right password live too.
            delay = self._rng.uniform(WRONG_PASSWORD_SECONDS, 2 * WRONG_PASSWORD_SECONDS)
        most = RETRY_BANNED if lost.refusal == Refusal.BANNED else RETRY_MAX
        delay = 0.0 if state == "connecting" else max(delay, min(float(lost.retry_s), most))
        try:
            await asyncio.wait_for(self._go.wait(), delay)
        except TimeoutError:
            pass
        self._go.clear()
        self._since = None

    def go(self) -> None:
        """Ends the pause, or the next one, whatever it is for."""
        self._go.set()

    def hurry(self) -> bool:
        """Somebody waits: ends a pause that may be ended and has lasted LEAST_SECONDS. True when it did."""
        if self._since is None or asyncio.get_running_loop().time() - self._since < LEAST_SECONDS:
            return False
        self._since = None
        self._go.set()
        return True
