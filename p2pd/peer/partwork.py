"""The disk work of one download: opening, taking up, committing, naming and removing its part file. Synchronous: runs in threads.

The rule: what the database says of the part file is never more than what the disk holds, and a complete file is never thrown away.
"""

from __future__ import annotations

import contextlib
import logging
import os

from p2pd.peer.space import Space, check_mounted
from p2pd.storage.hashing import hash_file
from p2pd.storage.partfile import PartFile, PartGone, find_finished, part_name_for
from p2pd.storage.root import Root, StorageError, StorageMissing
from p2pd.storage.state import Download, State
from protocol.bitfield import Bitfield
from protocol.display import safe
from protocol.errors import Fault
from protocol.manifest import Manifest

log = logging.getLogger("p2pd.peer.partwork")


class PartWork:
    """The part file of one transfer. Methods take the row as it is now; they may be called in any thread, one at a time."""

    def __init__(self, store: State, space: Space) -> None:
        self._store = store
        self._space = space
        self.resumed = 0  # octets that were there when it was opened
        self.recheck = False  # a sync failed: believe only what is read from the disk

    def finished_before(self, root: Root, row: Download) -> str | None:
        """The path when a kill came between the rename and its record."""
        if not row.part_name or root.exists(row.part_name):
            return None
        return find_finished(root, row.target_name, row.size, row.part_stamp)

    def open(self, root: Root, manifest: Manifest, row: Download) -> tuple[PartFile, int]:
        """The part file, new or taken up, recorded, and the pieces it holds (bits). Raises StorageError, DiskFull when it cannot fit."""
        if row.part_name and row.part_stamp is not None:
            try:
                part, have = self._reopen(root, manifest, row)
            except PartGone:
                log.warning("! %s: its part file is gone, starting again", row.transfer_id)
            else:
                self.resumed = octets_of(manifest, have)
                recorded = self._recorded(part, manifest, have, row)
                try:
                    self._space.promise(root, row.transfer_id, manifest.size - self.resumed)
                except BaseException:
                    part.close()
                    raise
                return recorded
        zeros = Bitfield(manifest.count, manifest.zero_pieces()).bits
        self._space.promise(root, row.transfer_id, manifest.size - octets_of(manifest, zeros))
        # The epoch tells apart the files of two daemons that download into one directory.
        name = part_name_for(f"{row.transfer_id}-{self._store.share_epoch.hex()[:8]}", row.content_id)
        if root.exists(name):
            root.unlink(name)
        part = PartFile.create(root, name, manifest)
        self.resumed = 0
        return self._recorded(part, manifest, zeros, row)

    def _recorded(self, part: PartFile, manifest: Manifest, have: int, row: Download) -> tuple[PartFile, int]:
        try:
            committed = Bitfield.from_bits(manifest.count, have).to_bytes()
            self._store.set_part(row.transfer_id, part.name, part.identity, committed, self.resumed)
        except BaseException:  # nobody gets the part file, so nobody else would close it
            part.close()
            raise
        return part, have

    def _reopen(self, root: Root, manifest: Manifest, row: Download) -> tuple[PartFile, int]:
        part, trusted = PartFile.reopen(root, row.part_name, manifest, row.part_stamp, recheck=self.recheck)
        self.recheck = False
        try:
            if row.part_mtime_ns and part.mtime_ns != row.part_mtime_ns:
                log.warning(
                    "! %s: something else wrote to its part file: all of it is verified", row.transfer_id
                )
                trusted = False
            committed = Bitfield(manifest.count)
            if len(row.committed) == (manifest.count + 7) // 8:
                committed = Bitfield.from_bytes(row.committed, manifest.count)
            if not trusted:
                for piece in list(committed):
                    if not part.verify(piece):
                        committed.discard(piece)
            # What was written after the last commit is worth a look: fetching it again costs more than hashing it.
            found = part.recover(committed)
            part.sync()
            return part, (committed | found).bits
        except BaseException:
            part.close()
            raise

    def commit(self, part: PartFile, row: Download, manifest: Manifest, bits: int, received: int) -> None:
        """Makes what was written durable, then records these pieces. Raises DiskFull when the floor is reached, StorageMissing when the
        directory is somewhere else by now; the pieces are recorded all the same."""
        self._record_pieces(part, row, manifest, bits, received)
        check_mounted(part.root)
        self._space.written(part.root, row.transfer_id, manifest.size - octets_of(manifest, bits))

    def _record_pieces(
        self, part: PartFile, row: Download, manifest: Manifest, bits: int, received: int
    ) -> None:
        part.sync()
        self._store.commit_pieces(
            row.transfer_id, Bitfield.from_bits(manifest.count, bits).to_bytes(), received
        )

    def last_commit(
        self, part: PartFile, row: Download, manifest: Manifest, bits: int, received: int
    ) -> None:
        """When a run ends early, keeps what it has. Errors are logged: the next run looks at the disk."""
        try:
            self._record_pieces(part, row, manifest, bits, received)
            self._store.set_part_mtime(row.transfer_id, part.mtime_ns)
        except Fault as fault:
            log.warning("! %s: %s", row.transfer_id, fault.message)

    def check_sha256(self, root: Root, part: PartFile, manifest: Manifest, row: Download) -> None:
        """Raises Fault integrity when the file does not have the SHA-256 that its manifest states."""
        actual = hash_file(os.path.join(root.path, part.name)).sha256
        if actual != manifest.sha256:
            raise Fault(
                "integrity",
                f"{safe(row.name)} does not have the SHA-256 that its sharer claimed",
                "the octets are what that device shares; ask for another copy, by content id",
                {"claimed": manifest.sha256.hex(), "actual": actual.hex()},
            )

    def finish(self, part: PartFile, row: Download) -> str:
        """Gives the complete file its name. One that was taken meanwhile is left alone, and so is the work: the next free name is used."""
        check_mounted(part.root)
        try:
            path = part.finish(row.target_name, row.exists_policy, row.from_user)
        except Fault as fault:
            if fault.code != "exists":
                raise
            path = part.finish(row.target_name, "rename", row.from_user)
            log.warning("! %s: its name was taken meanwhile: saved as %s", row.transfer_id, safe(path))
        # With size and inode this tells later whether somebody changed the file (verifying.py).
        with contextlib.suppress(OSError):  # without it a difference counts as a change
            self._store.set_part_mtime(row.transfer_id, os.lstat(path).st_mtime_ns)
        return path

    def leave(self, row: Download) -> None:
        """It runs no more: its room is for others."""
        self._space.release(row.transfer_id)

    def check_storage(self, row: Download) -> None:
        """Whether a download that waits for its disk can go on. Raises StorageError when it cannot."""
        with Root(row.directory) as root:
            stamp = row.part_stamp
            if stamp is not None and stamp.device != root.device and not root.exists(row.part_name):
                raise StorageMissing(
                    f"{root.shown(row.part_name)} is not there", "check that the drive is connected"
                )
            self._space.check(root, row.transfer_id, row.size - self._held(row))

    def _held(self, row: Download) -> int:
        """Octets of the committed pieces; 0 when the manifest is not here."""
        octets = self._store.manifest(row.content_id)
        if octets is None or not row.committed:
            return 0
        manifest = Manifest.decode(octets, row.content_id)
        if len(row.committed) != (manifest.count + 7) // 8:
            return 0
        return octets_of(manifest, Bitfield.from_bytes(row.committed, manifest.count).bits)

    def drop_pieces(self, row: Download, bad: int) -> None:
        """These pieces (bits) are not what they were: they are fetched again."""
        octets = self._store.manifest(row.content_id)
        if octets is None:
            return
        manifest = Manifest.decode(octets, row.content_id)
        if len(row.committed) == (manifest.count + 7) // 8:
            left = Bitfield.from_bytes(row.committed, manifest.count).bits & ~bad
            self._store.commit_pieces(
                row.transfer_id, Bitfield.from_bits(manifest.count, left).to_bytes(), row.received_bytes
            )

    def remove(self, row: Download) -> None:
        """Removes the part file of a download that was given up."""
        if row.part_name:
            try:
                with Root(row.directory) as root:
                    root.unlink(row.part_name)
            except StorageError:
                pass  # the directory is gone, and the part file with it


def octets_of(manifest: Manifest, bits: int) -> int:
    """Octets of a set of pieces."""
    octets = bits.bit_count() * manifest.piece_size
    if manifest.count and bits >> (manifest.count - 1) & 1:
        octets += manifest.piece_length(manifest.count - 1) - manifest.piece_size
    return octets
