"""The uploader: answers the peer dialect on the listening ROUTER. Runs on the `uploads` reactor.

The rule: every request gets exactly one answer. Blocks are served one at a time, when their turn comes (slots.py), from
the file in place; the file is compared with what was hashed before and after each read, and a changed one is
refused and reported, never served. What a peer may have queued is bounded by its credit.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable

from p2pd.net.conn import Conn
from p2pd.net.router import SealedRouter
from p2pd.peer.catalogue import Catalogue, Served
from p2pd.peer.growing import Growing
from p2pd.peer.interest import Interests
from p2pd.peer.slots import UploadQueue
from p2pd.peer.smalls import SmallContents
from p2pd.storage.hashing import Stamp, open_shared, stamp_of
from protocol import limits
from protocol.errors import Fault, Refusal, RemoteProtocolError
from protocol.peer import (
    Available,
    Block,
    Cancel,
    Contents,
    Done,
    GetBlock,
    GetContents,
    GetManifest,
    Interest,
    ManifestPart,
    Refused,
    decode_request,
)

OPEN_FILES = 64
_EMPTY = memoryview(b"")


class Uploads:
    """Handler of a SealedRouter. `on_changed(served)` is called when a file is no longer what was hashed."""

    def __init__(self, catalogue: Catalogue, on_changed: Callable[[Served], object]) -> None:
        self.queue = UploadQueue(self._serve)
        self.interests = Interests()
        self.uploaded = 0  # octets of blocks, since the start
        self._router: SealedRouter | None = None
        self._catalogue = catalogue
        self._on_changed = on_changed
        self._files: OrderedDict[bytes, tuple[int, Served]] = OrderedDict()
        self._buffer = memoryview(bytearray(limits.MAX_BLOCK))
        self._smalls = SmallContents(catalogue, self._buffer, self._changed)

    @property
    def router(self) -> SealedRouter | None:
        """What carries the answers; set before the first downloader comes."""
        return self._router

    @router.setter
    def router(self, router: SealedRouter) -> None:
        self._router = router
        self.queue.run_on(router.reactor)
        self.interests.run_on(router.reactor)

    @property
    def active(self) -> int:
        """Peers with requests waiting."""
        return len(self.queue)

    # -- handler ------------------------------------------------------------------------------------------

    def opened(self, conn: Conn) -> None:
        """A downloader came."""
        self.queue.came(conn)

    def closed(self, conn: Conn) -> None:
        """A downloader left: its requests are forgotten."""
        self.queue.left(conn)
        self.interests.left(conn)

    def writable(self, conn: Conn) -> None:
        """Room again."""
        self.queue.work()

    def message(self, conn: Conn, header: memoryview, payload: memoryview) -> None:
        """One request."""
        request = decode_request(header)
        if payload:
            raise RemoteProtocolError("a request has no payload")
        if isinstance(request, GetBlock):
            self._enqueue(conn, request)
        elif isinstance(request, Interest):
            self._tell(conn, request)
        elif isinstance(request, GetManifest | GetContents):
            self._enqueue(conn, request)
        elif isinstance(request, Cancel):
            self._cancel(conn, request)

    def close(self) -> None:
        """Closes the open files."""
        for fd, _ in self._files.values():
            os.close(fd)
        self._files.clear()

    def forget(self, content_id: bytes) -> None:
        """The catalogue changed: do not serve from an open file of before."""
        entry = self._files.pop(content_id, None)
        if entry is not None:
            os.close(entry[0])

    # -- requests -----------------------------------------------------------------------------------------

    def _tell(self, conn: Conn, request: Interest) -> None:
        growing = self._catalogue.growing(request.content_id)
        if growing is not None and not growing.complete:
            # In this order: a piece that comes in between is told of twice rather than never.
            self.interests.add(conn, request.content_id, growing.bits)
            conn.send(Available(request.req, False), growing.bitfield)
        elif growing is None and self._catalogue.find(request.content_id) is None:
            conn.send(Refused(request.req, Refusal.NOT_FOUND))
        else:
            conn.send(Available(request.req, True))

    def _send_manifest(self, conn: Conn, request: GetManifest) -> None:
        manifest = self._catalogue.manifest(request.content_id)
        if manifest is None:
            conn.send(Refused(request.req, Refusal.NOT_FOUND))
            return
        if request.offset >= len(manifest):
            conn.close("asked for octets beyond the manifest")
            return
        part = memoryview(manifest)[request.offset : request.offset + limits.MANIFEST_PART]
        conn.send(ManifestPart(request.req, len(manifest)), part)

    def _enqueue(self, conn: Conn, request: GetBlock | GetManifest | GetContents) -> None:
        """Everything that carries bulk waits for its turn, within the credit of its peer."""
        if not self.queue.add(conn, request):
            conn.send(Refused(request.req, Refusal.LIMIT, 1))

    def _cancel(self, conn: Conn, request: Cancel) -> None:
        for waiting in self.queue.withdraw(conn, lambda other: _is_cancelled(other, request)):
            conn.send(Refused(waiting.req, Refusal.CANCELLED))
        conn.send(Done(request.req))

    # -- blocks -------------------------------------------------------------------------------------------

    def _serve(self, conn: Conn, request: GetBlock | GetManifest | GetContents) -> int:
        """Answers; the octets of files that went."""
        before = self.uploaded
        if isinstance(request, GetManifest):
            self._send_manifest(conn, request)
        elif isinstance(request, GetContents):
            results, octets = self._smalls.read(request.contents)
            self.uploaded += len(octets)
            conn.send(Contents(request.req, results), octets)
        else:
            self._send_block(conn, request)
        return self.uploaded - before

    def _send_block(self, conn: Conn, request: GetBlock) -> None:
        growing = self._catalogue.growing(request.content_id)
        if growing is not None:
            self._send_grown(conn, request, growing)
            return
        served = self._catalogue.find(request.content_id)
        if served is None:
            conn.send(Refused(request.req, Refusal.NOT_FOUND))
            return
        if request.piece >= served.count or request.offset + request.length > served.piece_length(
            request.piece
        ):
            conn.close("asked for octets beyond the end")
            return
        draft = conn.draft(Block(request.req), request.length)
        code = self._read(served, request.piece * served.piece_size + request.offset, draft.payload)
        if code:
            draft.drop()
            conn.send(Refused(request.req, code))
            return
        self.uploaded += request.length
        draft.send()

    def _send_grown(self, conn: Conn, request: GetBlock, growing: Growing) -> None:
        """A block of what is still being fetched: of a verified piece, or none."""
        if not growing.within(request.piece, request.offset, request.length):
            conn.close("asked for octets beyond the end")
            return
        draft = conn.draft(Block(request.req), request.length)
        if growing.has(request.piece) and growing.read_into(request.piece, request.offset, draft.payload):
            self.uploaded += request.length
            draft.send()
        else:
            draft.drop()
            conn.send(Refused(request.req, Refusal.BUSY, 1))

    def _read(self, served: Served, offset: int, view: memoryview) -> int:
        """Fills `view` from the file; 0, or the refusal code."""
        try:
            fd = self._open(served)
            # Compared before and after: a writer that is quicker than one read is caught by either.
            if not self._same(fd, served.stamp):
                return self._changed(served)
            done = 0
            while done < len(view):
                count = os.preadv(fd, [view[done:]], offset + done)
                if count == 0:
                    return self._changed(served)
                done += count
            return 0 if self._same(fd, served.stamp) else self._changed(served)
        except (OSError, Fault):
            return self._changed(served)

    def _open(self, served: Served) -> int:
        entry = self._files.get(served.content_id)
        if entry is not None:
            if entry[1] is served:
                self._files.move_to_end(served.content_id)
                return entry[0]
            self.forget(served.content_id)
        fd, _ = open_shared(served.path)
        self._files[served.content_id] = (fd, served)
        while len(self._files) > OPEN_FILES:
            _, (oldest, _) = self._files.popitem(last=False)
            os.close(oldest)
        return fd

    def _same(self, fd: int, stamp: Stamp) -> bool:
        return stamp_of(fd) == stamp

    def _changed(self, served: Served) -> int:
        self.forget(served.content_id)
        self._catalogue.remove(served.content_id, served.share_id)
        self._on_changed(served)
        return Refusal.CHANGED


def _is_cancelled(waiting: GetBlock | GetManifest | GetContents, request: Cancel) -> bool:
    if waiting.content_id != request.content_id:
        return False
    return not request.pieces or (isinstance(waiting, GetBlock) and waiting.piece in request.pieces)
