"""What a download that looks too large for its disk really needs: stretches of zeros take no room. On the event loop.

The rule: only asked when the size alone does not fit, since it costs a manifest; without an answer in a moment the size counts.
"""

from __future__ import annotations

import asyncio

from p2pd.net.bridge import settle
from p2pd.net.dealer import Lost
from p2pd.peer.attempt import Services
from p2pd.peer.fetch import ManifestFetch
from p2pd.peer.links import Peer
from p2pd.peer.partwork import octets_of
from protocol.bitfield import Bitfield
from protocol.limits import MAX_MANIFEST
from protocol.manifest import Manifest

PATIENCE_SECONDS = 5.0


async def octets_needed(services: Services, content_id: bytes, size: int) -> int:
    """Octets that a file takes on the disk at least: `size` without its pieces of zeros, as far as its manifest can be had."""
    octets = services.store.manifest(content_id)
    if octets is not None:
        manifest: Manifest | None = Manifest.decode(octets, content_id)
    else:
        manifest = await _ask(services, content_id)
    if manifest is None:
        return size
    return manifest.size - octets_of(manifest, Bitfield(manifest.count, manifest.zero_pieces()).bits)


async def _ask(services: Services, content_id: bytes) -> Manifest | None:
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Manifest] = loop.create_future()

    def done(manifest: Manifest) -> None:
        settle(loop, found, manifest)

    def abandoned(peer: Peer, lost: Lost) -> None:
        """Another may give it in time."""

    fetch = ManifestFetch(services.reactor, content_id, Manifest.decode, MAX_MANIFEST, done, abandoned)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            if await services.finder.offer(content_id, fetch) is not None:
                return None
            return await found
    except TimeoutError:
        return None
    finally:
        services.reactor.call(fetch.stop)
