"""What identifies a file: its manifest, and the BLAKE3 of that.

The rule: the same octets have the same content id, whatever their name and whoever computed it. So a manifest
has one encoding: the piece size follows from the size, the msgpack is the shortest form, and anything else is
rejected even if its hash was asked for (docs/protocol.md, "Manifest"). Nothing is parsed before its hash is
checked. Knows nothing of files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256

from blake3 import blake3

from protocol import codec
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import MAX_BLOCK, MAX_FILE, MAX_MANIFEST, MAX_PIECES, MIB, MIN_PIECE

FORMAT = 1
"""First element of the array."""

HASH_SIZE = 32

_EMPTY_SHA256 = sha256(b"").digest()
_ZEROS = bytes(MIB)
_decoder: codec.Decoder[tuple[int, int, int, bytes, bytes]] = codec.Decoder(
    tuple[int, int, int, bytes, bytes], MAX_MANIFEST
)


def piece_size_for(size: int) -> int:
    """Octets in a piece of a file of `size` octets: 1 MiB, doubled until there are at most 65,536. Raises
    LocalProtocolError out of range."""
    if not 0 <= size <= MAX_FILE:
        raise LocalProtocolError(f"a file of {size} octets has no manifest")
    piece_size = MIN_PIECE
    while piece_size * MAX_PIECES < size:
        piece_size *= 2
    return piece_size


def piece_count(size: int) -> int:
    """How many pieces a file of `size` octets has; none for an empty one."""
    return -(-size // piece_size_for(size))


def blocks(piece_length: int) -> list[tuple[int, int]]:
    """The (offset in the piece, length) of each block to request of a piece of that length; all of MAX_BLOCK
    octets but the last."""
    return [(offset, min(MAX_BLOCK, piece_length - offset)) for offset in range(0, piece_length, MAX_BLOCK)]


@lru_cache(maxsize=64)
def zero_hash(length: int) -> bytes:
    """The BLAKE3 of `length` zero octets."""
    hasher = blake3()
    for _ in range(length // MIB):
        hasher.update(_ZEROS)
    hasher.update(memoryview(_ZEROS)[: length % MIB])
    return bytes(hasher.digest())


def _problem(size: int, piece_size: int, whole: bytes, pieces: bytes) -> str:
    """What is wrong with these fields, or ""."""
    if not 0 <= size <= MAX_FILE:
        return "a size out of range"
    if piece_size != piece_size_for(size):
        return "the wrong piece size for its size"
    if len(whole) != HASH_SIZE:
        return "a SHA-256 of the wrong length"
    if len(pieces) != HASH_SIZE * piece_count(size):
        return "the wrong number of pieces"
    if size == 0 and whole != _EMPTY_SHA256:
        return "the wrong SHA-256 for no octets"
    return ""


@dataclass(frozen=True)
class Manifest:
    """The identity of `size` octets. An inconsistent one cannot be built: LocalProtocolError."""

    size: int
    piece_size: int
    sha256: bytes
    """SHA-256 of the whole: what people compare, as `sha256sum` prints it. Claimed by whoever hashed the
    file, checked by who asks for it."""
    pieces: bytes
    """The BLAKE3 of each piece, 32 octets each, one after the other."""

    def __post_init__(self) -> None:
        if problem := _problem(self.size, self.piece_size, self.sha256, self.pieces):
            raise LocalProtocolError(f"a manifest with {problem}")

    def __repr__(self) -> str:
        return f"Manifest({self.content_id[:4].hex()}, {self.size} octets, {self.count} pieces)"

    def encode(self) -> bytes:
        """The canonical octets: msgpack `[1, size, piece size, sha256, pieces]`."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        return codec.encode([FORMAT, self.size, self.piece_size, self.sha256, self.pieces])

    @cached_property
    def content_id(self) -> bytes:
        """BLAKE3-256 of the canonical octets: 32 octets."""
        return bytes(blake3(self._encoded).digest())

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview, content_id: bytes) -> Manifest:
        """The manifest that `content_id` names. Raises RemoteProtocolError when `data` is not exactly its
        canonical octets."""
        if len(data) > MAX_MANIFEST:
            raise RemoteProtocolError("manifest too long")
        if blake3(data).digest() != content_id:
            raise RemoteProtocolError("manifest does not match its content id")
        version, size, piece_size, whole, pieces = _decoder.decode(data)
        if version != FORMAT:
            raise RemoteProtocolError(f"manifest of format {version}")
        if problem := _problem(size, piece_size, whole, pieces):
            raise RemoteProtocolError(f"manifest with {problem}")
        manifest = cls(size, piece_size, whole, pieces)
        if manifest.encode() != data:
            raise RemoteProtocolError("manifest is not in canonical form")
        return manifest

    @property
    def count(self) -> int:
        """How many pieces."""
        return len(self.pieces) // HASH_SIZE

    def _check(self, index: int) -> None:
        if not 0 <= index < self.count:
            raise IndexError(f"piece {index} of {self.count}")

    def piece_offset(self, index: int) -> int:
        """Where piece `index` begins in the file. Raises IndexError."""
        self._check(index)
        return index * self.piece_size

    def piece_length(self, index: int) -> int:
        """Octets in piece `index`: the piece size, or what is left for the last. Raises IndexError."""
        self._check(index)
        return min(self.piece_size, self.size - index * self.piece_size)

    def piece_hash(self, index: int) -> bytes:
        """The BLAKE3 of piece `index`. Raises IndexError."""
        self._check(index)
        return self.pieces[index * HASH_SIZE : (index + 1) * HASH_SIZE]

    def zero_pieces(self) -> list[int]:
        """The indexes of pieces that are all zero octets: a new sparse file holds them already, so they need
        no transfer."""
        if not self.count:
            return []
        whole, last = zero_hash(self.piece_size), zero_hash(self.piece_length(self.count - 1))
        found = []
        if whole in self.pieces:
            found = [index for index in range(self.count - 1) if self.piece_hash(index) == whole]
        if self.piece_hash(self.count - 1) == last:
            found.append(self.count - 1)
        return found
