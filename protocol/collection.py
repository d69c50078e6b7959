"""What identifies a folder: the list of its files, and the BLAKE3 of that.

The rule: the same tree has the same id, whatever the folder is called and whoever listed it. So a collection has one
encoding: paths in the order of their octets, msgpack in its shortest form, only directories listed that nothing listed
would make; anything else is rejected even if its hash was asked for (docs/protocol.md, "Collection"). Nothing is parsed
before its hash is checked, and no path gets out that protocol/names.py does not accept. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from typing import Annotated

from blake3 import blake3
from msgspec import Meta, Struct

from protocol import codec
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.ids import CONTENT_ID_SIZE
from protocol.limits import MAX_COLLECTION, MAX_COLLECTION_ENTRIES, MAX_FILE, MAX_PATH
from protocol.names import check_tree

FORMAT = 2
"""First element of the array: what tells a collection from a manifest (1)."""

Path = Annotated[str, Meta(min_length=1, max_length=MAX_PATH)]


class Member(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One file: its path in the folder with "/" between components, octets, content id."""

    path: Path
    size: Annotated[int, Meta(ge=0, le=MAX_FILE)]
    content_id: Annotated[bytes, Meta(min_length=CONTENT_ID_SIZE, max_length=CONTENT_ID_SIZE)]


_Directories = Annotated[list[Path], Meta(max_length=MAX_COLLECTION_ENTRIES)]
_Members = Annotated[list[Member], Meta(min_length=1, max_length=MAX_COLLECTION_ENTRIES)]
_decoder: codec.Decoder[tuple[int, _Directories, _Members]] = codec.Decoder(
    tuple[int, _Directories, _Members], MAX_COLLECTION
)


def _problem(directories: list[str], files: list[Member]) -> str:
    """What is wrong with these lists, or ""."""
    if not files:
        return "no file"
    if len(directories) + len(files) > MAX_COLLECTION_ENTRIES:
        return f"more than {MAX_COLLECTION_ENTRIES} entries"
    for paths in (directories, [file.path for file in files]):
        if any(first >= second for first, second in pairwise(paths)):
            return "paths out of order"
    sizes: dict[bytes, int] = {}
    if any(sizes.setdefault(file.content_id, file.size) != file.size for file in files):
        return "two sizes of one content"
    if sum(file.size for file in files) > MAX_FILE:
        return f"more than {MAX_FILE} octets"
    try:
        check_tree([*directories, *(file.path for file in files)])
    except RemoteProtocolError as error:
        return f"a path that {error}"
    return ""


class Collection:
    """The identity of a tree. `directories` are those without anything in them. An inconsistent one cannot be built:
    LocalProtocolError."""

    def __init__(self, directories: Iterable[str], files: Iterable[Member]) -> None:
        """In any order."""
        self.directories = sorted(directories)
        self.files = sorted(files, key=_by_path)
        if problem := _problem(self.directories, self.files):
            raise LocalProtocolError(f"a collection with {problem}")
        if len(self.encode()) > MAX_COLLECTION:
            raise LocalProtocolError(f"a collection with a list of more than {MAX_COLLECTION} octets")

    def __repr__(self) -> str:
        return f"Collection({self.content_id[:4].hex()}, {len(self.files)} files, {self.size} octets)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collection) and self.content_id == other.content_id

    def __hash__(self) -> int:
        return hash(self.content_id)

    def encode(self) -> bytes:
        """The canonical octets: msgpack `[2, directories, files]`."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        return codec.encode([FORMAT, self.directories, self.files])

    @cached_property
    def content_id(self) -> bytes:
        """BLAKE3-256 of the canonical octets: 32 octets."""
        return bytes(blake3(self._encoded).digest())

    @cached_property
    def sha256(self) -> bytes:
        """SHA-256 of the canonical octets: what a tracker is told where a file has that of its octets."""
        return sha256(self._encoded).digest()

    @cached_property
    def size(self) -> int:
        """Octets of all files together."""
        return sum(file.size for file in self.files)

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview, content_id: bytes) -> Collection:
        """The collection that `content_id` names. Raises RemoteProtocolError when `data` is not exactly its canonical
        octets."""
        if len(data) > MAX_COLLECTION:
            raise RemoteProtocolError("collection too long")
        if blake3(data).digest() != content_id:
            raise RemoteProtocolError("collection does not match its content id")
        version, directories, files = _decoder.decode(data)
        if version != FORMAT:
            raise RemoteProtocolError(f"collection of format {version}")
        if problem := _problem(directories, files):
            raise RemoteProtocolError(f"collection with {problem}")
        collection = cls.__new__(cls)
        collection.directories, collection.files = directories, files
        if collection.encode() != data:
            raise RemoteProtocolError("collection is not in canonical form")
        return collection


def is_collection(octets: bytes | bytearray | memoryview) -> bool:
    """Whether these canonical octets are a collection's and not a manifest's, by their first two octets."""
    return len(octets) > 1 and octets[0] == 0x93 and octets[1] == FORMAT


def _by_path(file: Member) -> str:
    return file.path
