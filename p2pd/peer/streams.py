"""All streams of this device: begun, looked up and ended. On the event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

from p2pd.happenings import StreamEnded, error_of
from p2pd.peer.attempt import Services
from p2pd.peer.stream import Asked, Stream
from protocol.errors import Fault
from protocol.ids import content_text

MAX_STREAMS = 4  # each holds a window of pieces in memory
KEPT = 64  # how so many ended can still be asked
NUMBERS = 100_000  # the name of a socket is never longer than that of the control socket


class Streams:
    """See the module. Sockets are made in `directory`, which only this user can enter."""

    def __init__(self, services: Services, directory: Path) -> None:
        self._services = services
        self._directory = directory
        self._streams: dict[str, Stream] = {}
        self._last = 0
        self._received = 0
        self._arrived = 0
        for left in directory.glob("s-*.sock"):
            left.unlink(missing_ok=True)  # of a run that was killed

    async def close(self) -> None:
        """Ends all of them."""
        await asyncio.gather(*(stream.stop() for stream in self.active))

    @property
    def active(self) -> list[Stream]:
        """Those that are not over."""
        return [stream for stream in self._streams.values() if not stream.over.is_set()]

    @property
    def received(self) -> int:
        """Octets of verified pieces that came over the network since the start."""
        return self._received + sum(stream.received for stream in self._streams.values())

    @property
    def arrived(self) -> int:
        """Octets of blocks that came since the start, whatever became of them."""
        return self._arrived + sum(stream.arrived for stream in self._streams.values())

    def add(self, asked: Asked) -> Stream:
        """Begins one. Raises Fault refused when too many are under way, storage."""
        if len(self.active) >= MAX_STREAMS:
            raise Fault("refused", f"{MAX_STREAMS} streams are under way already", "wait for one to end")
        self._last += 1
        path = self._directory / f"s-{self._last % NUMBERS}.sock"
        stream = self._streams[f"s-{self._last}"] = Stream(self._services, self._last, asked, path)
        stream.on_over = self._ended
        for name in [name for name, old in self._streams.items() if old.over.is_set()][:-KEPT]:
            old = self._streams.pop(name)
            self._received += old.received
            self._arrived += old.arrived
        return stream

    def _ended(self, stream: Stream) -> None:
        error = None if stream.fault is None else error_of(stream.fault)
        id = content_text(stream.asked.content_id)
        self._services.events.tell(
            StreamEnded(stream.name, id, stream.asked.name, stream.state, stream.sent, error)
        )

    def get(self, name: str) -> Stream:
        """Under way, or ended not long ago. Raises Fault not_found."""
        stream = self._streams.get(name)
        if stream is None:
            raise Fault("not_found", f"there is no stream {name}")
        return stream
