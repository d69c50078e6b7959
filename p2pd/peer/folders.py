"""Folders that this device shares: adding, looking again, watching and withdrawing them. On the event loop; disk work in threads.

The rule: a folder is public as one collection and each of its files by itself; what changed is withdrawn before it is hashed
again, and only what changed is hashed. New files are shared when somebody asks for it (add, rescan), never because they
appeared; what is known is watched.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from p2pd.events import Events
from p2pd.peer.catalogue import Served
from p2pd.peer.sharenews import ShareNews
from p2pd.storage.hashing import Cancelled
from p2pd.storage.state import State
from p2pd.storage.state_folders import Folder, Hashed, Member
from p2pd.storage.tree import Found, Left, Tree, hash_members, walk
from protocol import collection as listing
from protocol.collection import Collection
from protocol.display import quoted, safe
from protocol.errors import Fault, LocalProtocolError, RemoteProtocolError
from protocol.limits import MAX_FILES_PER_DEVICE, MIB
from protocol.manifest import piece_count, piece_size_for
from protocol.names import check_name, own_name

log = logging.getLogger("p2pd.peer.folders")

WATCH_SECONDS = 60.0
WATCH_SHARE = 50  # and at least so many times what a look takes: two per cent of one core at most
BATCH_FILES = 1000  # hashed, recorded and published at a time,
BATCH_OCTETS = 64 * MIB  # or so much


@dataclass(slots=True)
class Report:
    """What a look at a folder found. Paths are in the folder."""

    folder: Folder
    previous: bytes | None
    """Its collection's id before."""
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


class FolderJob:
    """One folder being looked at. `task` ends with the report; counters may be read at any time."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.size = 0  # octets to hash
        self.done = 0
        self.cancelled = False
        self.task: asyncio.Task[Report] | None = None

    def progress(self, octets: int) -> None:
        """Called by the hashing thread."""
        self.done += octets

    def stopped(self) -> bool:
        """Asked by the threads."""
        return self.cancelled


class Folders:
    """See the module. `changed()` is called after each change of what is published."""

    def __init__(self, store: State, changed: Callable[[], object], events: Events | None = None) -> None:
        self._news = ShareNews(events or Events())
        self._store = store
        self._changed = changed
        self._jobs: dict[int, FolderJob] = {}
        self._closing = False

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Looks at what was shared before; unfinished ones are finished."""
        for folder in self._store.list_folders():
            self._scan(folder, only_known=folder.state != "hashing")

    async def run(self) -> None:
        """Watches the folders; until cancelled."""
        took = 0.0
        while True:
            await asyncio.sleep(max(WATCH_SECONDS, WATCH_SHARE * took))
            began = time.monotonic()
            await self.watch()
            took = time.monotonic() - began

    async def watch(self) -> None:
        """Looks at every folder once, for what is known of it."""
        for folder in self._store.list_folders():
            job = self._scan(folder, only_known=True)
            assert job.task is not None
            await asyncio.gather(job.task, return_exceptions=True)

    async def close(self) -> None:
        """Stops hashing; it goes on at the next start."""
        self._closing = True
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancelled = True
        await asyncio.gather(*(job.task for job in jobs if job.task is not None), return_exceptions=True)

    # -- asking -------------------------------------------------------------------------------------------

    async def plan(self, path: str, name: str | None, excludes: list[str], hidden: bool) -> tuple[str, Tree]:
        """What `add` would share, and under which name. Raises Fault as `add` does."""
        real, shown = await self._place(path, name)
        return shown, await asyncio.to_thread(walk, real, shown, excludes, hidden)

    async def add(self, path: str, name: str | None, excludes: list[str], hidden: bool) -> FolderJob:
        """Shares a folder, or looks at it again with these settings. The job's task ends with the report, or Fault:
        not_found, usage (no folder, unusable name, nothing in it), storage, refused (too many files)."""
        real, shown = await self._place(path, name)
        known = self._store.folder_by_path(real)
        if known is None:  # before anything is recorded, so that a wrong path leaves nothing behind
            tree = await asyncio.to_thread(walk, real, shown, excludes, hidden)
            if not tree.files:
                raise _nothing(real, tree)
        folder = self._store.add_folder(real, shown, excludes, hidden, time.time())
        if known is not None and known.name != shown:
            self._changed()
        return self._scan(folder, only_known=False)

    async def _place(self, path: str, name: str | None) -> tuple[str, str]:
        real = await asyncio.to_thread(os.path.realpath, path)
        known = self._store.folder_by_path(real)
        own = known.name if known is not None else os.path.basename(os.path.normpath(path))
        shown = own_name(own if name is None else name)
        try:
            return real, check_name(shown)
        except RemoteProtocolError as error:
            hint = "give another name with --as NAME" if name is None else "choose another name"
            message = f"{quoted(shown)} cannot be shared under this name: {error}"
            raise Fault("usage", message, hint) from error

    def rescan(self, folder: Folder) -> FolderJob:
        """Looks for what is new, changed or gone."""
        return self._scan(folder, only_known=False)

    def around(self, path: str) -> Folder | None:
        """The shared folder that is this path, or holds it."""
        real = os.path.realpath(path)
        for folder in self._store.list_folders():
            if real == folder.path or real.startswith(folder.path.rstrip("/") + "/"):
                return folder
        return None

    async def remove(self, folder: Folder) -> Folder:
        """Shares a folder and its files no more. The files stay."""
        job = self._jobs.get(folder.folder_id)
        if job is not None and job.task is not None:
            job.cancelled = True
            await asyncio.gather(job.task, return_exceptions=True)
        removed = await asyncio.to_thread(self._store.remove_folder, folder.folder_id)
        self._changed()
        self._news.removed(removed)
        return removed

    async def take_download(self, path: str, name: str, collection: Collection, hashed: list[Hashed]) -> None:
        """Shares a finished download, whose files were just written and verified: nothing is hashed. One that cannot be
        shared is a line in the log, for the download itself is done."""
        try:
            try:
                name = check_name(own_name(os.path.basename(path)))
            except RemoteProtocolError:
                pass  # the user chose one that no other peer accepts: what the swarm calls it
            folder = await asyncio.to_thread(self._record, os.path.realpath(path), name, collection, hashed)
            self._news.settled(None, folder)
        except Fault as fault:
            log.warning("! %s is not shared: %s", safe(path), fault.message)
        self._changed()

    def _record(self, path: str, name: str, collection: Collection, hashed: list[Hashed]) -> Folder:
        now = time.time()
        self._check_room(len(hashed) + 1)
        with self._store.transaction():
            folder = self._store.add_folder(path, name, [], True, now, "download")
            self._store.put_members(folder.folder_id, hashed, now)
            return self._store.set_collection(folder.folder_id, collection, now)

    @property
    def hashing(self) -> int:
        """Folders being looked at."""
        return len(self._jobs)

    # -- looking ------------------------------------------------------------------------------------------

    def _scan(self, folder: Folder, *, only_known: bool) -> FolderJob:
        job = self._jobs.get(folder.folder_id)
        if job is None:
            job = self._jobs[folder.folder_id] = FolderJob(folder)
            job.task = asyncio.create_task(self._run_job(job, only_known), name=f"folder {folder.folder_id}")
            job.task.add_done_callback(_noted)
        return job

    async def _run_job(self, job: FolderJob, only_known: bool) -> Report:
        folder = job.folder
        try:
            return await self._look(job, only_known)
        except Cancelled:
            raise Fault("failure", f"{safe(folder.path)} was not looked at: cancelled") from None
        except Fault as fault:
            if folder.state == "hashing" and fault.code != "storage":
                self._store.remove_folder(folder.folder_id)
                self._news.failed(folder, fault)
            elif fault.code in ("not_found", "usage", "storage") and folder.state != "missing":
                log.warning("! %s: withdrawn: %s", safe(folder.path), fault.message)
                gone = await asyncio.to_thread(self._store.withdraw_folder, folder.folder_id, fault.message)
                self._changed()
                self._news.withdrawn(gone, fault.message)
            raise
        finally:
            self._jobs.pop(folder.folder_id, None)

    async def _look(self, job: FolderJob, only_known: bool) -> Report:
        folder, store = job.folder, self._store
        known = {m.path: m for m in await asyncio.to_thread(store.members, folder.folder_id)}
        tree = await asyncio.to_thread(
            walk, folder.path, folder.name, folder.excludes, folder.hidden, job.stopped, known
        )
        report = Report(folder, folder.content_id, left=tree.left)
        if only_known:
            tree.files = [found for found in tree.files if found.path in known]
        there = {found.path for found in tree.files}
        # A directory that cannot be read now does not mean that its files are gone for good.
        unsure = tuple("" if left.path == "." else f"{left.path}/" for left in tree.left if left.failed)
        report.vanished = sorted(path for path in known if path not in there)
        todo: list[Found] = []
        back: list[str] = []
        for found in tree.files:
            before = known.get(found.path)
            if before is None:
                report.new.append(found.path)
                todo.append(found)
            elif before.stamp != found.stamp:
                report.changed.append(found.path)
                todo.append(found)
            elif not before.live:
                back.append(found.path)
        if not tree.files:
            raise _nothing(folder.path, tree)
        self._check_room(len(report.new))
        gone = [path for path in (*report.changed, *report.vanished) if known[path].live]
        if gone or back:
            await asyncio.to_thread(self._show_and_hide, folder, back, gone)
        if not only_known:
            lost = [path for path in report.vanished if not path.startswith(unsure)]
            await asyncio.to_thread(store.drop_members, folder.folder_id, lost)
        report.vanished = [path for path in report.vanished if known[path].live]
        if gone or report.vanished:
            self._changed()
        await self._hash(job, todo, report)
        if todo or gone or back or folder.state != "shared" or not only_known:
            report.folder = await asyncio.to_thread(self._collect, folder, tree)
            self._changed()
            if report.folder.content_id != report.previous or folder.state != "shared":
                self._news.settled(report.previous, report.folder)
        if gone or todo:
            log.info(
                "= %s: %d new, %d changed, %d gone",
                safe(folder.name),
                len(report.new),
                len(report.changed),
                len(report.vanished),
            )
        return report

    def _show_and_hide(self, folder: Folder, back: list[str], gone: list[str]) -> None:
        with self._store.transaction():
            self._store.show_members(folder.folder_id, back, time.time())
            self._store.hide_members(folder.folder_id, gone)

    async def _hash(self, job: FolderJob, todo: list[Found], report: Report) -> None:
        """Hashes these; one batch is recorded and published while the next is hashed."""
        job.size = sum(found.stamp.size for found in todo)
        folder_id = job.folder.folder_id
        recording: asyncio.Future[None] | None = None
        try:
            for batch in _batches(todo):
                hashed, left = await asyncio.to_thread(
                    hash_members, job.folder.path, batch, job.progress, job.stopped
                )
                report.left += left
                if recording is not None:
                    await recording
                    self._changed()
                put = asyncio.to_thread(self._store.put_members, folder_id, hashed, time.time())
                recording = asyncio.ensure_future(put)
        finally:
            if recording is not None:
                await recording
                self._changed()

    def _collect(self, folder: Folder, tree: Tree) -> Folder:
        """Makes what is live now the folder's collection."""
        store = self._store
        live = [member for member in store.members(folder.folder_id) if member.live]
        if not live:
            raise _nothing(folder.path, tree)
        try:
            made = Collection(
                map(own_name, _really_empty(tree.directories, live)),
                (listing.Member(member.name, member.size, member.content_id) for member in live),
            )
        except LocalProtocolError as error:
            raise Fault(
                "refused", f"{safe(folder.path)} cannot be shared: {error}", "share its parts"
            ) from error
        now = store.get_folder(folder.folder_id)
        if now.state == "shared" and now.content_id == made.content_id:
            return now
        return store.set_collection(folder.folder_id, made, time.time())

    def _check_room(self, more: int) -> None:
        if self._store.published_count() + more > MAX_FILES_PER_DEVICE:
            message = f"this device would share more than {MAX_FILES_PER_DEVICE} files"
            raise Fault("refused", message, "remove some first, or leave some out with --exclude")

    # -- serving ------------------------------------------------------------------------------------------

    def served_changed(self, served: Served) -> None:
        """An upload found that a file of a folder is not what was hashed. Called on the loop."""
        try:
            folder = self._store.get_folder(-served.share_id)
        except Fault:
            return  # removed meanwhile
        self._store.hide_members(folder.folder_id, [os.path.relpath(served.path, folder.path)])
        self._changed()
        if not self._closing:
            self._scan(folder, only_known=True)


def member_served(store: State, content_id: bytes) -> Served | None:
    """A file of a folder with this content, as the catalogue wants it. In any thread."""
    found = store.member_by_content(content_id)
    if found is None:
        return None
    folder_id, path, member = found
    return Served(
        content_id,
        -folder_id,
        os.path.join(path, member.path),
        member.stamp,
        member.size,
        piece_size_for(member.size),
        piece_count(member.size),
    )


def _batches(todo: list[Found]) -> Iterator[list[Found]]:
    batch: list[Found] = []
    octets = 0
    for found in todo:
        batch.append(found)
        octets += found.stamp.size
        if len(batch) >= BATCH_FILES or octets >= BATCH_OCTETS:
            yield batch
            batch, octets = [], 0
    if batch:
        yield batch


def _really_empty(directories: list[str], live: list[Member]) -> list[str]:
    """Those of the directories that no shared file lies in."""
    used = set()
    for member in live:
        directory = member.path.rpartition("/")[0]
        while directory and directory not in used:
            used.add(directory)
            directory = directory.rpartition("/")[0]
    return [directory for directory in directories if directory not in used]


def _nothing(path: str, tree: Tree) -> Fault:
    details: dict[str, object] = {
        "left_out": [{"path": left.path, "reason": left.reason} for left in tree.left[:100]]
    }
    hint = "everything in it is left out; --dry-run shows why" if tree.left else "put something into it first"
    return Fault("usage", f"there is no file to share in {safe(path)}", hint, details)


def _noted(task: asyncio.Task[Report]) -> None:
    """Logs what nobody waited for; a Fault is told to whoever does wait."""
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Fault):
        log.error("! a folder's task failed", exc_info=error)
