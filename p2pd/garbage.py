"""Keeps the interpreter's search for cycles short: what has lived for a while is not looked through again and again.

The rule: sessions, catalogues and modules live long and refer to each other in no circles; they go when nobody refers to them. A full
collection looks at all of them with the interpreter's lock held, over 0.1 s with thousands of sessions, and the interpreter starts one
whenever requests have made enough objects. So what is there at a beat is set aside (gc.freeze). What a circle of set-aside objects holds
is found when the process holds twice as much as when all was looked at. Knows no role.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable

from p2pd.net.warden import resident_octets

log = logging.getLogger("p2pd.garbage")

GROWTH = 2.0  # times what was held after the last look at all,
GROWTH_OCTETS = 64 << 20  # and so much more at least: then all is looked at once


class Garbage:
    """See the module. `resident()`: octets of memory that this process holds."""

    def __init__(self, resident: Callable[[], int] = resident_octets) -> None:
        self._resident = resident
        self._held = 0

    def settle(self) -> None:
        """All is built: looks at everything once, and sets it aside."""
        began = time.perf_counter()
        gc.unfreeze()
        found = gc.collect()
        gc.freeze()
        self._held = self._resident()
        log.debug("= %d objects in circles, found in %.3f s", found, time.perf_counter() - began)

    def beat(self) -> None:
        """Now and then: sets aside what outlived the last requests."""
        if self._resident() > max(self._held * GROWTH, self._held + GROWTH_OCTETS):
            self.settle()
            return
        gc.collect(1)  # what is young may be in circles, and goes before it is set aside
        gc.freeze()
