"""Reads many small contents into one answer (GetContents). Runs on the `uploads` reactor.

The rule: as with blocks, a file is compared with what was hashed before and after it is read, and octets that may be of
another state of it are not sent. Each file is opened, read and closed: keeping thousands open would serve nobody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from p2pd.peer.catalogue import Catalogue, Served
from p2pd.storage.hashing import open_shared, stamp_of
from protocol.errors import Fault, Refusal


class SmallContents:
    """See the module. `changed(served)` tells of a file that is not what was hashed, and answers the refusal code."""

    def __init__(self, catalogue: Catalogue, buffer: memoryview, changed: Callable[[Served], int]) -> None:
        self._catalogue = catalogue
        self._buffer = buffer
        self._changed = changed

    def read(self, contents: Sequence[bytes]) -> tuple[list[int], memoryview]:
        """For each content its octets, or minus a refusal code; and the octets, one after the other, valid until the next
        call."""
        results = []
        used = 0
        for content_id in contents:
            served = self._catalogue.find(content_id)
            if served is None:
                results.append(-Refusal.NOT_FOUND)
            elif served.size > len(self._buffer) - used:
                results.append(-Refusal.LIMIT)
            elif code := self._read(served, self._buffer[used : used + served.size]):
                results.append(-code)
            else:
                results.append(served.size)
                used += served.size
        return results, self._buffer[:used]

    def _read(self, served: Served, view: memoryview) -> int:
        try:
            fd, stamp = open_shared(served.path)
            try:
                done = 0
                while done < len(view) and stamp == served.stamp:
                    count = os.readv(fd, [view[done:]])
                    if count == 0:
                        break
                    done += count
                whole = done == len(view) and stamp == served.stamp == stamp_of(fd)
            finally:
                os.close(fd)
        except (OSError, Fault):
            whole = False
        return 0 if whole else self._changed(served)
