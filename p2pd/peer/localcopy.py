"""Pieces that this device shares already: copied from its own file instead of fetched, verified all the same."""

from __future__ import annotations

import os

from blake3 import blake3

from p2pd.engine.pieces import indexes
from p2pd.peer.catalogue import Catalogue
from p2pd.storage.hashing import open_shared
from p2pd.storage.partfile import PartFile
from protocol.errors import Fault
from protocol.limits import MAX_BLOCK
from protocol.manifest import Manifest, blocks


def copy_local(catalogue: Catalogue, part: PartFile, manifest: Manifest, have: int) -> int:
    """Copies what is missing from a file of our own with this content; the pieces (bits) that are good now.

    A file that is gone or differs gives fewer pieces, never an error. Raises StorageError when `part` cannot be written.
    """
    served = catalogue.find(manifest.content_id)
    missing = ((1 << manifest.count) - 1) & ~have
    if served is None or not missing:
        return 0
    try:
        fd, _ = open_shared(served.path)
    except Fault:
        return 0
    copied = 0
    buffer = memoryview(bytearray(MAX_BLOCK))
    try:
        for piece in indexes(missing):
            start = manifest.piece_offset(piece)
            hasher = blake3()
            for offset, length in blocks(manifest.piece_length(piece)):
                view = buffer[:length]
                try:
                    got = os.preadv(fd, [view], start + offset)
                except OSError:
                    return copied
                if got != length:
                    return copied
                hasher.update(view)
                part.write(start + offset, view)
            if hasher.digest() == manifest.piece_hash(piece):
                copied |= 1 << piece
    finally:
        os.close(fd)
    return copied
