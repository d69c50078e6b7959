"""What this device shares: adding, hashing, watching and withdrawing files. On the event loop; disk work in threads.

The rule: a file is served and published only as it was hashed. It is compared by size, mtime and inode when it is opened, before and
after each block (uploads), and every SCAN_SECONDS; one that differs is withdrawn first and hashed again then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import time
from collections.abc import Callable

from p2pd.events import Events
from p2pd.peer.catalogue import Catalogue, Served
from p2pd.peer.sharenews import ShareNews
from p2pd.storage.hashing import Cancelled, FileChanged, Stamp, hash_file, open_shared, stamp_from, stamp_of
from p2pd.storage.state import Share, State
from protocol.display import quoted, safe
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import MAX_FILE, MAX_FILES_PER_DEVICE
from protocol.manifest import Manifest
from protocol.names import check_name, own_name

log = logging.getLogger("p2pd.peer.shares")

SCAN_SECONDS = 15.0
HASH_JOBS = 2  # files hashed at a time; each uses two threads
ATTEMPTS = 3  # how often a file that changes while it is hashed is tried again at once


class HashJob:
    """One file being hashed. `task` ends with the share; counters may be read at any time."""

    def __init__(self, share: Share, size: int) -> None:
        self.share = share
        self.size = size
        self.done = 0
        self.cancelled = False
        self.task: asyncio.Task[Share] | None = None

    def progress(self, done: int) -> None:
        """Called by the hashing thread."""
        self.done = done


class Shares:
    """See the module. `changed()` is called after each change of what is published; `forget(content_id)` lets uploads close a file."""

    def __init__(
        self,
        store: State,
        catalogue: Catalogue,
        changed: Callable[[], object],
        forget: Callable[[bytes], object],
        events: Events | None = None,
    ) -> None:
        self._news = ShareNews(events or Events())
        self._store = store
        self._catalogue = catalogue
        self._changed = changed
        self._forget = forget
        self._jobs: dict[int, HashJob] = {}
        self._slots = asyncio.Semaphore(HASH_JOBS)
        self._checks: set[asyncio.Task[None]] = set()
        self._closing = False

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes up what was shared before: unchanged files at once, changed ones after hashing."""
        await self.scan()

    async def run(self) -> None:
        """Watches the shared files; until cancelled."""
        while True:
            await asyncio.sleep(SCAN_SECONDS)
            try:
                await self.scan()
            except Exception:  # a full disk, or a bug, must not end the watch: the next round may go well
                log.exception("! the shares could not be looked at")

    async def close(self) -> None:
        """Stops hashing; it begins anew at the next start."""
        self._closing = True
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancelled = True
        await asyncio.gather(*(job.task for job in jobs if job.task is not None), return_exceptions=True)

    # -- adding -------------------------------------------------------------------------------------------

    async def add(self, path: str, name: str | None) -> tuple[Share, HashJob | None]:
        """Shares a file. Answers the share, and the job that hashes it, or None when it was shared already, unchanged.

        Raises Fault: not_found, usage (not a plain file, unusable name), storage, refused (too many files).
        """
        real, stamp, shown = await self._place(path, name)
        known = self._store.share_by_path(real)
        if known is None and self._store.published_count() >= MAX_FILES_PER_DEVICE:
            raise Fault(
                "refused", f"this device shares {MAX_FILES_PER_DEVICE} files already", "remove some first"
            )
        if known is not None and name is None:
            shown = known.name
        share = self._store.add_share(real, shown, time.time())
        job = self._jobs.get(share.share_id)
        if job is not None:
            return share, job
        if share.state == "shared" and share.stamp == stamp:
            if known is not None and known.name != shown:
                self._changed()
            return share, None
        return share, self._hash(share, stamp.size, new=known is None)

    async def plan(self, path: str, name: str | None) -> tuple[str, int]:
        """The name and the octets that `add` would share. Raises Fault as it does."""
        _, stamp, shown = await self._place(path, name)
        return shown, stamp.size

    async def _place(self, path: str, name: str | None) -> tuple[str, Stamp, str]:
        real = await asyncio.to_thread(os.path.realpath, path)
        stamp = await asyncio.to_thread(_look, real)
        shown = own_name(name if name is not None else os.path.basename(path))
        try:
            check_name(shown)
        except RemoteProtocolError as error:
            hint = "give another name with --as NAME" if name is None else "choose another name"
            raise Fault(
                "usage", f"{quoted(shown)} cannot be shared under this name: {error}", hint
            ) from error
        if stamp.size > MAX_FILE:
            raise Fault("usage", f"{safe(real)} is larger than 1 TiB", "split it")
        return real, stamp, shown

    async def take_download(self, path: str, name: str, manifest: Manifest) -> None:
        """As add_download; a file that cannot be shared is a line in the log, for the download itself is done."""
        try:
            await asyncio.to_thread(os.stat, path)
            self.add_download(path, name, manifest)
        except (OSError, Fault, FileChanged) as error:
            log.warning("! %s is not shared: %s", safe(path), error)

    def add_download(self, path: str, name: str, manifest: Manifest) -> Share:
        """Shares a finished download, whose manifest is known: nothing is hashed.

        Under its own name, or, when the user chose one that no other peer accepts, under `name`, what the swarm calls it.
        """
        try:
            name = check_name(own_name(os.path.basename(path)))
        except RemoteProtocolError:
            name = name.rsplit("/", 1)[-1]
        fd, stamp = open_shared(path)
        os.close(fd)
        if stamp.size != manifest.size:
            raise FileChanged
        share = self._store.add_share(path, name, time.time(), "download")
        before = share.content_id
        share = self._store.set_shared(share.share_id, manifest, stamp, time.time())
        self._news.settled(before, share)
        self._serve(share, manifest.piece_size, manifest.count)
        self._changed()
        return share

    def remove(self, share: Share) -> Share:
        """Shares a path no more. The file stays."""
        job = self._jobs.get(share.share_id)
        if job is not None:
            job.cancelled = True
        removed = self._store.remove_share(share.share_id)
        self._unserve(removed)
        self._changed()
        self._news.removed(removed)
        return removed

    def damaged(self, share_id: int, reason: str) -> None:
        """Its file has other octets than were hashed, though nobody changed it: served no more, and its content is remembered."""
        try:
            withdrawn = self._store.withdraw(share_id, "error", reason)
        except Fault as fault:
            log.warning("! %s", fault.message)  # removed meanwhile
            return
        self._unserve(withdrawn)
        self._news.withdrawn(withdrawn, reason)
        self._changed()

    def mended(self, share_id: int) -> None:
        """Its file is again what was hashed."""
        try:
            share = self._store.get_share(share_id)
            octets = self._store.manifest(share.content_id) if share.content_id is not None else None
            stamp = _look(share.path)
        except Fault as fault:
            log.warning("! %s", fault.message)
            return
        if octets is None or share.content_id is None or share.state == "shared":
            return
        manifest = Manifest.decode(octets, share.content_id)
        share = self._store.set_shared(share_id, manifest, stamp, time.time())
        self._serve(share, manifest.piece_size, manifest.count)
        self._changed()
        self._news.settled(share.content_id, share)

    @property
    def hashing(self) -> int:
        """Files being hashed."""
        return len(self._jobs)

    # -- hashing ------------------------------------------------------------------------------------------

    def _hash(self, share: Share, size: int, *, new: bool) -> HashJob:
        job = self._jobs[share.share_id] = HashJob(share, size)
        job.task = asyncio.create_task(self._run_job(job, new), name=f"hash {share.share_id}")
        job.task.add_done_callback(_noted)
        return job

    async def _run_job(self, job: HashJob, new: bool) -> Share:
        share = job.share
        try:
            async with self._slots:
                manifest, stamp = await asyncio.to_thread(self._hash_now, job)
        except Cancelled:
            raise Fault("failure", f"{safe(share.path)} was not hashed: cancelled") from None
        except Fault as fault:
            if new:
                self._store.remove_share(share.share_id)
                self._news.failed(share, fault)
            else:
                state = "missing" if fault.code == "not_found" else "error"
                self._news.withdrawn(
                    self._store.withdraw(share.share_id, state, fault.message), fault.message
                )
            raise
        finally:
            self._jobs.pop(share.share_id, None)
        before = self._store.get_share(share.share_id)
        if before.content_id is not None and before.content_id != manifest.content_id:
            self._unserve(before)
        share = self._store.set_shared(share.share_id, manifest, stamp, time.time())
        self._serve(share, manifest.piece_size, manifest.count)
        self._changed()
        log.info("= shared %s", safe(share.name))
        self._news.settled(before.content_id, share)
        return share

    def _hash_now(self, job: HashJob) -> tuple[Manifest, Stamp]:
        path = job.share.path
        for _ in range(ATTEMPTS):
            fd, stamp = open_shared(path)
            try:
                job.size = stamp.size
                manifest = hash_file(fd, stamp.size, job.progress, lambda: job.cancelled)
                if stamp_of(fd) == stamp:
                    return manifest, stamp
            except FileChanged:
                continue
            finally:
                os.close(fd)
        raise Fault(
            "storage", f"{safe(path)} keeps changing while it is hashed", "add it when it is finished"
        )

    # -- serving and watching -----------------------------------------------------------------------------

    def _serve(self, share: Share, piece_size: int, count: int) -> None:
        assert share.content_id is not None
        assert share.stamp is not None
        served = Served(
            share.content_id, share.share_id, share.path, share.stamp, share.size, piece_size, count
        )
        self._catalogue.put(served)

    def _unserve(self, share: Share) -> None:
        """Serves a share no more; another path with the same content takes its place."""
        if share.content_id is None:
            return
        self._catalogue.remove(share.content_id, share.share_id)
        self._forget(share.content_id)
        if self._catalogue.find(share.content_id) is None:
            for other in self._store.shares_by_content(share.content_id):
                if other.state == "shared" and other.share_id != share.share_id:
                    self._serve_known(other)
                    return

    def _serve_known(self, share: Share) -> None:
        octets = self._store.manifest(share.content_id) if share.content_id is not None else None
        if octets is not None and share.content_id is not None:
            manifest = Manifest.decode(octets, share.content_id)
            self._serve(share, manifest.piece_size, manifest.count)

    def served_changed(self, served: Served) -> None:
        """An upload found that a file is not what was hashed. Called on the loop."""
        try:
            share = self._store.get_share(served.share_id)
        except Fault:
            return  # removed meanwhile
        task = asyncio.get_running_loop().create_task(self._check([share]))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)
        task.add_done_callback(_noted)

    async def scan(self) -> None:
        """Compares every share with its file."""
        await self._check(self._store.list_shares())

    async def _check(self, shares: list[Share]) -> None:
        stamps = await asyncio.to_thread(lambda: [_stamp_at(share.path) for share in shares])
        for seen, stamp in zip(shares, stamps, strict=True):
            if seen.share_id in self._jobs or self._closing:
                continue
            try:
                share = self._store.get_share(seen.share_id)
            except Fault:
                continue  # removed meanwhile
            if share.revision == seen.revision and share.state == seen.state:
                self._judge(share, stamp)

    def _judge(self, share: Share, stamp: Stamp | None) -> None:
        if stamp is None:
            if share.state != "missing":
                log.warning("! %s is gone: withdrawn", safe(share.path))
                share = self._store.withdraw(share.share_id, "missing", "the file is gone")
                self._unserve(share)
                self._changed()
                self._news.withdrawn(share, "the file is gone")
        elif share.state == "shared" and share.stamp == stamp:
            if share.content_id is not None and self._catalogue.find(share.content_id) is None:
                self._serve_known(share)
        elif share.state == "missing" and share.stamp == stamp and share.content_id is not None:
            octets = self._store.manifest(share.content_id)
            if octets is not None:
                manifest = Manifest.decode(octets, share.content_id)
                share = self._store.set_shared(share.share_id, manifest, stamp, time.time())
                self._serve(share, manifest.piece_size, manifest.count)
                self._changed()
                self._news.settled(share.content_id, share)
        elif share.state != "error" or share.stamp != stamp:
            if share.state == "shared":
                log.warning("! %s changed: withdrawn and hashed again", safe(share.path))
            if share.content_id is not None:
                withdrawn = self._store.withdraw(share.share_id, "changed", "being hashed again")
                self._unserve(withdrawn)
                self._changed()
                if share.state == "shared":
                    self._news.withdrawn(withdrawn, "the file changed; it is hashed again")
            self._hash(share, stamp.size, new=False)


def _look(path: str) -> Stamp:
    fd, stamp = open_shared(path)
    os.close(fd)
    return stamp


def _stamp_at(path: str) -> Stamp | None:
    """The stamp of what is there without opening it (a FIFO would block, a link would be followed); None for nothing usable."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return stamp_from(status) if stat.S_ISREG(status.st_mode) else None


def _noted(task: asyncio.Task[object]) -> None:
    """Logs what nobody waited for; a Fault is told to whoever does wait."""
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Fault):
        log.error("! a share task failed", exc_info=error)
