"""The methods of the control API about streams. On the event loop.

The rule: as in control/api.py. The octets themselves go over a socket of their own (peer/tap.py), never through this dialect.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from p2pd.control import params as read_params
from p2pd.control.fetching import wanted_sha256
from p2pd.control.items import Item, fault_item
from p2pd.control.server import Method, Progress
from p2pd.peer.service import PeerService
from p2pd.peer.stream import Asked, Stream
from protocol.control import parse_reference
from protocol.display import safe
from protocol.errors import Fault
from protocol.ids import content_text


class Streaming:
    """See the module. `peer()` is the running peer, or raises Fault refused in a pure tracker."""

    def __init__(self, peer: Callable[[], PeerService]) -> None:
        self._peer = peer
        self.methods: dict[str, Method] = {"stream": self.stream, "stream_status": self.stream_status}

    async def stream(self, params: dict[str, Any], progress: Progress) -> Item:
        """Begins a stream; answers with it at once."""
        asked = read_params.read(read_params.Stream, params)
        peer = self._peer()
        hit, _ = await peer.finder.resolve(asked.ref)
        if hit.files:
            raise Fault(
                "usage",
                f"{safe(hit.names[0])} is a folder, which cannot be one stream of octets",
                "download it into a directory: -o DIR/",
            )
        reference = parse_reference(asked.ref)
        by_name = reference.kind == "name" and reference.value in hit.names
        wanted = Asked(
            content_id=hit.content_id,
            name=reference.value if by_name else hit.names[0],
            size=hit.size,
            check_sha256=wanted_sha256(reference, hit),
            limit=asked.limit_bytes_per_s or 0,
        )
        return self._item(peer.streams.add(wanted))

    async def stream_status(self, params: dict[str, Any], progress: Progress) -> Item:
        """How a stream is doing; with `wait`, how it ended."""
        asked = read_params.read(read_params.StreamStatus, params)
        stream = self._peer().streams.get(asked.stream)
        if asked.wait:
            await stream.over.wait()
        return self._item(stream)

    def _item(self, stream: Stream) -> Item:
        manifest = stream.manifest
        rate = int(stream.rate)
        left = stream.size - stream.sent
        return {
            "stream": stream.name,
            "id": content_text(stream.asked.content_id),
            "sha256": manifest.sha256.hex() if manifest is not None else None,
            "name": stream.asked.name,
            "size_bytes": stream.size,
            "path": os.fspath(stream.path),
            "state": stream.state,
            "sent_bytes": stream.sent,
            "rate_bytes_per_s": rate,
            "eta_s": round(left / rate, 1) if rate and not stream.over.is_set() else None,
            "sources": stream.sources,
            "from": list(stream.givers.values())[:50],
            "error": fault_item(stream.fault),
        }
