"""Reads again what this device shares and has downloaded, and compares it with its manifests. On the event loop; reading in a thread.

The rule: what tells damage from change is the stamp (size, time, inode) that was recorded when the file was hashed or finished. The
same stamp and other octets are damage; another stamp and other octets are somebody's change, which is told and never touched unless that is
asked for. One file is read at a time, by whoever asks first; it ends with whoever asked.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from p2pd.peer.mending import Mender
from p2pd.peer.shares import Shares
from p2pd.storage.checking import bad_pieces
from p2pd.storage.hashing import Cancelled, FileChanged, Stamp, hash_file, open_shared, stamp_of
from p2pd.storage.state import Download, Share, State
from protocol.bitfield import Bitfield
from protocol.collection import Collection
from protocol.control import Reference, parse_reference
from protocol.display import quoted, safe
from protocol.errors import Fault
from protocol.manifest import Manifest, piece_count
from protocol.names import own_name

log = logging.getLogger("p2pd.peer.verifying")


@dataclass(frozen=True, slots=True)
class Target:
    """One file to verify. `stamp` is what was recorded of it, None when that is not known; `finished_at` then when it was complete, so that
    a file that is younger was written to by somebody. `group`: name, path and id of its folder."""

    kind: str  # share, folder, download, or part: an unfinished download
    name: str
    path: str
    content_id: bytes
    sha256: bytes | None
    size: int
    stamp: Stamp | None
    share: Share | None = None
    download: Download | None = None
    group: tuple[str, ...] = ()
    finished_at: float | None = None


@dataclass(slots=True)
class Verdict:
    """What was found of a target. `state`: good, repaired, damaged, changed, missing, unreadable or unknown (its manifest is gone)."""

    target: Target
    state: str
    pieces: int = 0
    bad: list[int] = field(default_factory=list)
    fault: Fault | None = None  # why it is not good, or was not repaired
    whole: bool = False  # which pieces are bad is not known without the manifest


class Run:
    """One verification, for its asker to look at."""

    def __init__(self, targets: list[Target]) -> None:
        self.total = sum(target.size for target in targets)
        self.stage = "waiting"
        self.current = ""
        self._done = 0
        self._here = 0

    @property
    def done(self) -> int:
        """Octets read so far."""
        return self._done + self._here

    def begin(self, target: Target) -> None:
        """This one is next."""
        self.stage, self.current = "verifying", target.name

    def read(self, octets: int) -> None:
        """So much of it; called by the reading thread."""
        self._here = octets

    def end(self, target: Target) -> None:
        """It is done, however it ended."""
        self._done, self._here = self._done + target.size, 0


class Verifier:
    """See the module. `drop_pieces(transfer id, bits)` makes an unfinished download fetch these pieces again."""

    def __init__(
        self, store: State, shares: Shares, mender: Mender, drop_pieces: Callable[[str, int], Awaitable[None]]
    ) -> None:
        self._store = store
        self._shares = shares
        self._mender = mender
        self._drop_pieces = drop_pieces
        self._turn = asyncio.Lock()

    # -- what there is ------------------------------------------------------------------------------------

    def targets(self) -> list[Target]:
        """Every file whose content is known, each path once: own shares, files of shared folders, downloads."""
        found: dict[tuple[str, bytes], Target] = {}
        for share in self._store.list_shares():
            if share.content_id is not None:
                target = Target(
                    "share",
                    share.name,
                    share.path,
                    share.content_id,
                    share.sha256,
                    share.size,
                    share.stamp,
                    share,
                )
                found[target.path, target.content_id] = target
        for folder in self._store.list_folders():
            group = (folder.name, folder.path, folder.content_id.hex() if folder.content_id else "")
            for member in self._store.members(folder.folder_id):
                path = os.path.join(folder.path, member.path)
                target = Target(
                    "folder",
                    f"{folder.name}/{member.name}",
                    path,
                    member.content_id,
                    member.sha256,
                    member.size,
                    member.stamp,
                    group=group,
                )
                found.setdefault((path, member.content_id), target)
        shared = {one.group[1:] for one in found.values() if one.group}
        for row in self._store.list_downloads():
            if row.files and (row.path, row.content_id.hex()) not in shared:
                for one in self._of_tree(row):
                    found.setdefault((one.path, one.content_id), one)
            elif (single := _of_download(row)) is not None:
                found.setdefault((single.path, single.content_id), single)
        return list(found.values())

    def _of_tree(self, row: Download) -> Iterator[Target]:
        """The files of a folder that was downloaded and is not shared."""
        octets = self._store.manifest(row.content_id)
        if row.state != "done" or row.path is None or octets is None:
            return
        group = (row.name, row.path, row.content_id.hex())
        for file in Collection.decode(octets, row.content_id).files:
            yield Target(
                "download",
                f"{row.name}/{file.path}",
                os.path.join(row.path, file.path),
                file.content_id,
                None,
                file.size,
                None,
                download=row,
                group=group,
                finished_at=row.finished_at,
            )

    def find(self, text: str) -> list[Target]:
        """The targets that a reference, a transfer id or an absolute path means. Raises Fault not_found, usage."""
        every = self.targets()
        if text.startswith("/"):
            path = os.path.realpath(text)
            found = [one for one in every if path in (one.path, *one.group[1:2])]
        elif text.startswith("t-"):
            found = self._of_transfer(every, text)
        else:
            found = []
        if not found:
            found = _matching(every, parse_reference(text))
        if not found:
            raise Fault(
                "not_found",
                f"{quoted(text)} is neither shared nor downloaded here",
                "p2pctl list and p2pctl transfers show what is",
            )
        return found

    def _of_transfer(self, every: list[Target], transfer_id: str) -> list[Target]:
        """What a download is, or has become: a share, or the files of a shared folder."""
        found = [one for one in every if one.download is not None and one.download.transfer_id == transfer_id]
        rows = [row for row in self._store.list_downloads() if row.transfer_id == transfer_id and row.path]
        if found or not rows:
            return found
        path, content_id = os.path.realpath(rows[0].path or ""), rows[0].content_id
        folder = (path, content_id.hex())
        return [
            one
            for one in every
            if (one.path, one.content_id) == (path, content_id) or one.group[1:] == folder
        ]

    # -- one run ------------------------------------------------------------------------------------------

    async def run(
        self, run: Run, targets: list[Target], *, repair: bool, restore: bool
    ) -> AsyncGenerator[Verdict, None]:
        """Verifies these in turn. `repair`: damaged pieces are fetched and written; `restore`: also those of files that somebody changed,
        as far as they have their size. Ends in order when it is closed or cancelled: a file that is being written is finished."""
        async with self._turn:
            for target in targets:
                run.begin(target)
                verdict = await self._verify(run, target)
                self._note(verdict)
                if (verdict.bad or verdict.whole) and (repair if verdict.state == "damaged" else restore):
                    run.stage = "repairing"
                    await self._repair(verdict)
                run.end(target)
                yield verdict

    async def _verify(self, run: Run, target: Target) -> Verdict:
        octets = self._store.manifest(target.content_id)
        manifest = Manifest.decode(octets, target.content_id) if octets is not None else None
        stop = threading.Event()
        reading = asyncio.ensure_future(asyncio.to_thread(_look, target, manifest, run.read, stop.is_set))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.gather(reading, return_exceptions=True)
            raise

    def _note(self, verdict: Verdict) -> None:
        """A damaged share is served no more, and one that is good again is."""
        share = verdict.target.share
        if share is None:
            return
        if verdict.state == "damaged" and share.state == "shared":
            self._shares.damaged(share.share_id, f"{len(verdict.bad)} pieces are damaged")
        elif verdict.state == "good" and share.state == "error":
            self._shares.mended(share.share_id)

    async def _repair(self, verdict: Verdict) -> None:
        target = verdict.target
        bits = sum(1 << piece for piece in verdict.bad)
        if target.kind == "part":
            assert target.download is not None
            await self._drop_pieces(target.download.transfer_id, bits)
            verdict.state, verdict.fault = "repaired", None
            return
        octets = self._store.manifest(target.content_id)
        try:
            if octets is not None:
                manifest = Manifest.decode(octets, target.content_id)
            else:
                manifest = await self._mender.manifest(target.content_id)
                verdict.bad = await asyncio.to_thread(_bad, target.path, manifest)
                bits = sum(1 << piece for piece in verdict.bad)
            stamp = target.stamp if verdict.state == "damaged" else None
            if stamp is None:
                stamp = await asyncio.to_thread(_stamp, target.path)
            await self._mender.mend(target.path, stamp, manifest, bits)
            left = await asyncio.to_thread(_read_again, target.path, manifest, bits)
        except FileChanged as error:
            verdict.fault = Fault("storage", f"{safe(target.path)} was {error}", "verify it again")
            return
        except Fault as fault:
            verdict.fault = fault
            return
        if left:
            verdict.fault = Fault(
                "integrity",
                f"{safe(target.path)} is damaged again after it was written",
                "the disk may be failing",
            )
            return
        log.info("= %s: %d pieces mended", safe(target.path), len(verdict.bad))
        verdict.state, verdict.fault = "repaired", None
        if target.share is not None:
            self._shares.mended(target.share.share_id)


def _of_download(row: Download) -> Target | None:
    if row.files:
        return None
    stamp = None
    if row.part_stamp is not None and row.part_mtime_ns:
        stamp = Stamp(row.size, row.part_mtime_ns, row.part_stamp.inode, row.part_stamp.device)
    if row.state == "done" and row.path is not None:
        return Target("download", row.name, row.path, row.content_id, None, row.size, stamp, download=row)
    if not row.final and row.part_name and row.committed:
        path = os.path.join(row.directory, row.part_name)
        return Target("part", row.name, path, row.content_id, None, row.size, None, download=row)
    return None


def _matching(every: list[Target], reference: Reference) -> list[Target]:
    value, text = reference.value, reference.text
    name = own_name(value if reference.kind == "name" else text)
    by_name = [one for one in every if name in (one.name, one.name.rpartition("/")[2], *one.group[:1])]
    if reference.kind == "name":
        return by_name
    if reference.kind == "sha256":
        return [one for one in every if one.sha256 is not None and one.sha256.hex().startswith(value)]
    by_id = [
        one
        for one in every
        if one.content_id.hex().startswith(value) or (one.group and one.group[2].startswith(value))
    ]
    by_sha = [one for one in every if one.sha256 is not None and one.sha256.hex() == value]
    return by_id or by_sha or by_name


def _look(
    target: Target,
    manifest: Manifest | None,
    on_progress: Callable[[int], None],
    cancelled: Callable[[], bool],
) -> Verdict:
    """Reads one file; in a thread. Without a manifest, as of the files of a folder that was downloaded and is not shared, its content id
    is computed: then it is told whether it is good, and of a file of one piece which is bad."""
    count = piece_count(target.size) if manifest is None else manifest.count
    wanted = None
    if manifest is not None and target.download is not None and target.kind == "part":
        committed = target.download.committed
        wanted = (
            Bitfield.from_bytes(committed, manifest.count).bits
            if len(committed) == (manifest.count + 7) // 8
            else 0
        )
    try:
        fd, stamp = open_shared(target.path)
    except Fault as fault:
        state = "missing" if fault.code == "not_found" else "unreadable"
        return Verdict(target, state, count, fault=fault)
    try:
        if manifest is not None:
            bad = bad_pieces(fd, manifest, wanted, on_progress, cancelled)
            good = not bad
        else:
            if hasattr(os, "posix_fadvise"):  # as in bad_pieces
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            good = hash_file(fd, target.size, on_progress, cancelled).content_id == target.content_id
            bad = 0 if good else int(count == 1)
        if stamp_of(fd) != stamp and target.kind != "part":
            raise FileChanged("written while it was read")
    except FileChanged as error:
        other = Fault("integrity", f"{safe(target.path)} was changed: {error}", _OTHER_HINT)
        return Verdict(target, "changed", count, fault=other)
    except Cancelled:
        return Verdict(target, "unreadable", count, fault=Fault("failure", "stopped"))
    except Fault as fault:
        return Verdict(target, "unreadable", count, fault=fault)
    finally:
        os.close(fd)
    pieces, whole = [piece for piece in range(count) if bad >> piece & 1], manifest is None
    if good:
        return Verdict(target, "good", count)
    if target.kind == "part" or _untouched(target, stamp):
        what = (
            f"{len(pieces)} of {count} pieces of {safe(target.path)} are"
            if bad
            else f"{safe(target.path)} is"
        )
        damage = Fault(
            "integrity",
            f"{what} damaged",
            "p2pctl verify --all --repair fetches them again",
        )
        return Verdict(target, "damaged", count, pieces, damage, whole)
    change = Fault("integrity", f"{safe(target.path)} was changed by somebody", _CHANGED_HINT)
    return Verdict(target, "changed", count, pieces, change, whole)


_OTHER_HINT = "download it again, to another name, when the old one is wanted"
_CHANGED_HINT = "p2pctl verify --repair --restore-changed FILE writes the old octets over the change"


def _untouched(target: Target, stamp: Stamp) -> bool:
    """Nobody wrote to it since it was hashed or finished, as far as its time tells."""
    if target.stamp is not None:
        return target.stamp == stamp
    return target.finished_at is not None and stamp.mtime_ns <= target.finished_at * 1e9


def _bad(path: str, manifest: Manifest) -> list[int]:
    bits = _read_again(path, manifest, (1 << manifest.count) - 1)
    return [piece for piece in range(manifest.count) if bits >> piece & 1]


def _stamp(path: str) -> Stamp:
    fd, stamp = open_shared(path)
    os.close(fd)
    return stamp


def _read_again(path: str, manifest: Manifest, bits: int) -> int:
    fd, _ = open_shared(path)
    try:
        return bad_pieces(fd, manifest, bits)
    finally:
        os.close(fd)
