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
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from p2pd.peer.mending import Mender
from p2pd.peer.shares import Shares
from p2pd.storage.checking import bad_pieces
from p2pd.storage.hashing import Cancelled, FileChanged, Stamp, open_shared, stamp_of
from p2pd.storage.state import Download, Share, State
from protocol.bitfield import Bitfield
from protocol.control import Reference, parse_reference
from protocol.display import quoted, safe
from protocol.errors import Fault
from protocol.manifest import Manifest

log = logging.getLogger("p2pd.peer.verifying")


@dataclass(frozen=True, slots=True)
class Target:
    """One file to verify. `stamp` is what was recorded of it, None when that is not known; `group` the name and id of its folder."""

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


@dataclass(slots=True)
class Verdict:
    """What was found of a target. `state`: good, repaired, damaged, changed, missing, unreadable or unknown (its manifest is gone)."""

    target: Target
    state: str
    pieces: int = 0
    bad: list[int] = field(default_factory=list)
    fault: Fault | None = None  # why it is not good, or was not repaired


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
                    f"{folder.name}/{member.path}",
                    path,
                    member.content_id,
                    member.sha256,
                    member.size,
                    member.stamp,
                    group=group,
                )
                found.setdefault((path, member.content_id), target)
        for row in self._store.list_downloads():
            one = _of_download(row)
            if one is not None:
                found.setdefault((one.path, one.content_id), one)
        return list(found.values())

    def find(self, text: str) -> list[Target]:
        """The targets that a reference, a transfer id or an absolute path means. Raises Fault not_found, usage."""
        every = self.targets()
        if text.startswith("/"):
            path = os.path.realpath(text)
            found = [one for one in every if path in (one.path, *one.group[1:2])]
        elif text.startswith("t-"):
            found = [one for one in every if one.download is not None and one.download.transfer_id == text]
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
                if verdict.bad and (repair if verdict.state == "damaged" else restore):
                    run.stage = "repairing"
                    await self._repair(verdict)
                run.end(target)
                yield verdict

    async def _verify(self, run: Run, target: Target) -> Verdict:
        octets = self._store.manifest(target.content_id)
        if octets is None:
            return Verdict(target, "unknown", fault=Fault("failure", "its manifest is not known any more"))
        manifest = Manifest.decode(octets, target.content_id)
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
        assert octets is not None
        manifest = Manifest.decode(octets, target.content_id)
        try:
            stamp = (
                target.stamp if verdict.state == "damaged" else await asyncio.to_thread(_stamp, target.path)
            )
            assert stamp is not None
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
    name = value if reference.kind == "name" else text
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
    target: Target, manifest: Manifest, on_progress: Callable[[int], None], cancelled: Callable[[], bool]
) -> Verdict:
    """Reads one file; in a thread."""
    wanted = None
    if target.download is not None and target.kind == "part":
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
        return Verdict(target, state, manifest.count, fault=fault)
    try:
        bad = bad_pieces(fd, manifest, wanted, on_progress, cancelled)
        if stamp_of(fd) != stamp and target.kind != "part":
            raise FileChanged("written while it was read")
    except FileChanged as error:
        other = Fault("integrity", f"{safe(target.path)} was changed: {error}", _OTHER_HINT)
        return Verdict(target, "changed", manifest.count, fault=other)
    except Cancelled:
        return Verdict(target, "unreadable", manifest.count, fault=Fault("failure", "stopped"))
    except Fault as fault:
        return Verdict(target, "unreadable", manifest.count, fault=fault)
    finally:
        os.close(fd)
    pieces = [piece for piece in range(manifest.count) if bad >> piece & 1]
    if not pieces:
        return Verdict(target, "good", manifest.count)
    if target.kind == "part" or (target.stamp is not None and target.stamp == stamp):
        damage = Fault(
            "integrity",
            f"{len(pieces)} of {manifest.count} pieces of {safe(target.path)} are damaged",
            "p2pctl verify --repair fetches them again",
        )
        return Verdict(target, "damaged", manifest.count, pieces, damage)
    change = Fault("integrity", f"{safe(target.path)} was changed by somebody", _CHANGED_HINT)
    return Verdict(target, "changed", manifest.count, pieces, change)


_OTHER_HINT = "download it again, to another name, when the old one is wanted"
_CHANGED_HINT = "p2pctl verify --repair --restore-changed writes the old octets over the change"


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
