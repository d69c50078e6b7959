"""Which pieces of a file are held: a set of indexes in a fixed range, and its octets.

The rule: one set has one encoding. Piece i is bit `0x80 >> (i % 8)` of octet `i // 8`, and the spare bits at
the end are zero (docs/protocol.md, "Bitfield"). Not safe to change from two threads at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from protocol.errors import LocalProtocolError, RemoteProtocolError

_REVERSED = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))
_BITS = tuple(tuple(bit for bit in range(8) if octet & (0x80 >> bit)) for octet in range(256))


class Bitfield:
    """A set of piece indexes out of range(count). `len()` is how many are in it; iteration is ascending."""

    __slots__ = ("_held", "_octets", "count")

    def __init__(self, count: int, indexes: Iterable[int] = ()) -> None:
        if count < 0:
            raise LocalProtocolError("a bitfield of a negative size")
        self.count = count
        self._octets = bytearray((count + 7) // 8)
        self._held = 0
        for index in indexes:
            self.add(index)

    @classmethod
    def complete(cls, count: int) -> Bitfield:
        """The bitfield of one who has every piece."""
        return cls.from_bits(count, (1 << count) - 1)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, count: int) -> Bitfield:
        """The inverse of to_bytes. Raises RemoteProtocolError for a wrong length or a spare bit that is
        set."""
        if len(data) != (count + 7) // 8:
            raise RemoteProtocolError(f"bitfield of {len(data)} octets for {count} pieces")
        if count % 8 and data[-1] & (0xFF >> count % 8):
            raise RemoteProtocolError("spare bits of a bitfield are set")
        field = cls(count)
        field._octets[:] = data
        field._held = int.from_bytes(data, "big").bit_count()
        return field

    @classmethod
    def from_bits(cls, count: int, bits: int) -> Bitfield:
        """From a number whose bit i (value 2^i) is piece i, as p2pd/engine keeps sets. Raises
        LocalProtocolError for a bit beyond the range."""
        field = cls(count)
        if bits < 0 or bits >> count:
            raise LocalProtocolError(f"a bit beyond {count} pieces")
        field._octets[:] = bits.to_bytes(len(field._octets), "little").translate(_REVERSED)
        field._held = bits.bit_count()
        return field

    @property
    def bits(self) -> int:
        """The number whose bit i (value 2^i) is piece i."""
        return int.from_bytes(self._octets.translate(_REVERSED), "little")

    def to_bytes(self) -> bytes:
        """(count + 7) // 8 octets."""
        return bytes(self._octets)

    def add(self, index: int) -> bool:
        """Puts a piece in; True when it was not there. Raises IndexError out of range."""
        return self._set(index, True)

    def discard(self, index: int) -> bool:
        """Takes a piece out; True when it was there. Raises IndexError out of range."""
        return self._set(index, False)

    def _set(self, index: int, value: bool) -> bool:
        if not 0 <= index < self.count:
            raise IndexError(f"piece {index} of {self.count}")
        mask = 0x80 >> (index & 7)
        if bool(self._octets[index >> 3] & mask) == value:
            return False
        self._octets[index >> 3] ^= mask
        self._held += 1 if value else -1
        return True

    def __contains__(self, index: int) -> bool:
        return 0 <= index < self.count and bool(self._octets[index >> 3] & (0x80 >> (index & 7)))

    def __len__(self) -> int:
        return self._held

    def __iter__(self) -> Iterator[int]:
        for position, octet in enumerate(self._octets):
            if octet:
                for bit in _BITS[octet]:
                    yield position * 8 + bit

    @property
    def full(self) -> bool:
        """True when every piece is in it; also for a file without pieces."""
        return self._held == self.count

    def missing(self) -> Bitfield:
        """The pieces that are not in it."""
        return self.from_bits(self.count, self.bits ^ ((1 << self.count) - 1))

    def copy(self) -> Bitfield:
        """An equal one that changes on its own."""
        return self.from_bits(self.count, self.bits)

    def _other(self, other: Bitfield) -> int:
        if self.count != other.count:
            raise LocalProtocolError(f"bitfields of {self.count} and {other.count} pieces")
        return other.bits

    def __or__(self, other: Bitfield) -> Bitfield:
        return self.from_bits(self.count, self.bits | self._other(other))

    def __and__(self, other: Bitfield) -> Bitfield:
        return self.from_bits(self.count, self.bits & self._other(other))

    def __sub__(self, other: Bitfield) -> Bitfield:
        return self.from_bits(self.count, self.bits & ~self._other(other))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bitfield):
            return NotImplemented
        return self.count == other.count and self._octets == other._octets

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Bitfield({self._held} of {self.count})"
