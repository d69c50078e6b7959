"""One stream's way out: a Unix socket that one local client connects to, and a thread that writes verified pieces to it in order.

The rule: nothing is written that was not verified, in no other order than the file's, and the socket is the flow control: a client that
does not read stops the thread, one that goes away ends it. Knows nothing of sources; a Supply has the pieces.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from protocol.errors import Fault
from protocol.manifest import Manifest

CONNECT_SECONDS = 10.0  # from the answer to the client's connection
LOOK_SECONDS = 0.25  # between two looks whether the client is still there, while nothing can be sent


class Supply(Protocol):
    """Who has the pieces."""

    def take(self, piece: int, seconds: float) -> memoryview | None:
        """The verified octets of a piece; None when they are not here within `seconds`."""

    def release(self, piece: int) -> int:
        """The piece is sent. The first piece that may not be fetched yet."""

    def close(self) -> None:
        """Nothing more is taken."""


class Gone(Exception):
    """The client left, or the stream was stopped."""


class Tap:
    """See the module. `sent(octets, reach)` is told after each piece and `over()` at the end, both from the thread.

    `check_sha256`: the last piece goes out only when the SHA-256 of the whole is what the manifest states.
    """

    def __init__(
        self,
        path: Path,
        sent: Callable[[int, int], object],
        over: Callable[[], object],
        *,
        check_sha256: bool = False,
    ) -> None:
        self.path = path
        self.complete = False  # every octet was written
        self.fault: Fault | None = None
        self._sent = sent
        self._over = over
        self._check = hashlib.sha256() if check_sha256 else None
        self._manifest: Manifest | None = None
        self._supply: Supply | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._conn: socket.socket | None = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Linux takes the mode of the file from that of the socket; elsewhere the directory alone keeps others out.
            with contextlib.suppress(OSError):
                os.fchmod(self._listener.fileno(), 0o600)
            self._listener.bind(os.fspath(path))
            self._listener.listen(1)
        except OSError as error:
            self._listener.close()
            raise Fault("storage", f"cannot make the socket of a stream, {path}: {error}") from error
        self._thread = threading.Thread(target=self._run, name=f"stream {path.name}", daemon=True)
        self._thread.start()

    # -- from any thread ----------------------------------------------------------------------------------

    def begin(self, manifest: Manifest, supply: Supply) -> None:
        """What is to be written, and where it comes from."""
        with self._changed:
            self._manifest, self._supply = manifest, supply
            self._changed.notify_all()

    def stop(self) -> None:
        """Ends it as soon as possible; nothing when it is over."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            if self._conn is not None:
                with contextlib.suppress(OSError):
                    self._conn.shutdown(socket.SHUT_RDWR)

    def join(self, seconds: float) -> bool:
        """Waits for the thread; True when it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # -- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            conn = self._accept()
            try:
                self._feed(conn)
                self.complete = True
            finally:
                # Whoever asks after the end of the octets must hear how it ended.
                self._over()
                with self._changed:
                    self._conn = None
                    conn.close()
        except Gone:
            pass
        except OSError:
            pass  # the client has left in the middle of a write
        finally:
            self._close_listener()
            if not self.complete:
                self._over()
            with self._changed:
                supply, self._supply = self._supply, None
            if supply is not None:
                supply.close()

    def _accept(self) -> socket.socket:
        deadline = time.monotonic() + CONNECT_SECONDS
        self._listener.settimeout(LOOK_SECONDS)
        while not self._stopping and time.monotonic() < deadline:
            try:
                conn, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._close_listener()
            conn.setblocking(True)
            with self._changed:
                self._conn = conn
            return conn
        raise Gone

    def _close_listener(self) -> None:
        self._listener.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _feed(self, conn: socket.socket) -> None:
        with self._changed:
            while self._manifest is None:
                self._look(conn)
                self._changed.wait(LOOK_SECONDS)
            manifest = self._manifest
        for piece in range(manifest.count):
            supply, view = self._take(conn, piece)
            if self._check is not None:
                self._check.update(view)
                if piece == manifest.count - 1:
                    self._agree(manifest)
            conn.sendall(view)
            self._sent(len(view), supply.release(piece))

    def _take(self, conn: socket.socket, piece: int) -> tuple[Supply, memoryview]:
        while not self._stopping:
            supply = self._supply
            assert supply is not None
            if (view := supply.take(piece, LOOK_SECONDS)) is not None:
                return supply, view
            self._look(conn)
        raise Gone

    def _agree(self, manifest: Manifest) -> None:
        assert self._check is not None
        if self._check.digest() != manifest.sha256:
            self.fault = Fault(
                "integrity",
                "the file does not have the SHA-256 that its sharer claimed; its last piece was held back",
                "the octets are what that device shares; ask for another copy, by content id",
                {"claimed": manifest.sha256.hex(), "actual": self._check.hexdigest()},
            )
            raise Gone

    def _look(self, conn: socket.socket) -> None:
        """Raises Gone when the client has left (it never sends anything) or all is to end."""
        if self._stopping:
            raise Gone
        try:
            conn.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        raise Gone
