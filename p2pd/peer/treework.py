"""The disk work of one folder's download: its staging directory, what is in it, its name at the end. Synchronous: runs in threads.

The rule: a file counts when its octets were verified here and written whole; after a restart small ones are read and verified again,
which costs less than fetching them, so nothing is believed that the disk does not hold. One content is fetched once, however many
paths have it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence

from p2pd.peer.catalogue import Catalogue
from p2pd.peer.contents import Delivery, Want
from p2pd.peer.partwork import PartWork
from p2pd.storage import staging as places
from p2pd.storage.hashing import Stamp, data_extents, hash_file, open_shared
from p2pd.storage.partfile import part_name_for
from p2pd.storage.root import Root, StorageError, StorageMissing, storage_error
from p2pd.storage.staging import Branches, Staging
from p2pd.storage.state import Download
from p2pd.storage.state_folders import Hashed
from p2pd.storage.tree import small_manifest
from protocol.bitfield import Bitfield
from protocol.collection import Collection, Member
from protocol.display import safe
from protocol.errors import Fault
from protocol.limits import MIB, MIN_PIECE
from protocol.manifest import Manifest

log = logging.getLogger("p2pd.peer.treework")


class TreeWork(PartWork):
    """As PartWork, of a folder: where a PartFile is opened there, a Tree is here."""

    def finished_before(self, root: Root, row: Download) -> str | None:
        """The path when a kill came between the naming of the tree and its record."""
        if not row.part_name:
            return None
        left = Staging.reopen(root, row.part_name)
        if left is not None:
            left.close()
            return None
        path = places.find_finished(root, row.target_name, row.part_stamp)
        if path is not None:
            places.remove(root, row.part_name)
        return path

    def open_tree(self, root: Root, collection: Collection, row: Download) -> Tree:
        """The staging directory, new or taken up, recorded, with what it holds counted."""
        recheck, self.recheck = self.recheck, False
        staging = Staging.reopen(root, row.part_name) if row.part_name else None
        fresh = staging is None
        if staging is None:
            name = part_name_for(f"{row.transfer_id}-{self._store.share_epoch.hex()[:8]}", row.content_id)
            staging = Staging.create(root, name)
        try:
            tree = Tree(staging, collection, row)
            if not fresh:
                parts = {
                    part.content_id for part in self._store.parts_of(row.transfer_id) if part.state == "done"
                }
                tree.take_up({} if recheck else {cid: self._manifest(cid) for cid in parts})
            tree.look_at_target()
        except BaseException:
            staging.close()
            raise
        self.resumed = tree.verified
        try:
            held = Bitfield(len(collection.files), tree.there).to_bytes()
            self._store.set_part(row.transfer_id, staging.name, staging.identity, held, self.resumed)
            small, _ = tree.missing()
            self._space.promise(
                root, row.transfer_id, octets_of(small)
            )  # each larger one promises for itself
        except BaseException:
            tree.close()
            raise
        return tree

    def _manifest(self, content_id: bytes) -> Manifest | None:
        octets = self._store.manifest(content_id)
        return None if octets is None else Manifest.decode(octets, content_id)

    def commit_tree(self, tree: Tree, row: Download, received: int) -> None:
        """Makes what was written durable, then records it."""
        tree.staging.sync()
        self._space.written(tree.staging.root, row.transfer_id, octets_of(tree.missing()[0]))
        bits = Bitfield(len(tree.collection.files), tree.there).to_bytes()
        self._store.commit_pieces(row.transfer_id, bits, received)

    def finish_tree(self, tree: Tree, row: Download) -> tuple[str, list[tuple[str, str]]]:
        """Gives the tree its name, or moves its files into the folder of that name; the path, and (path, why) of files that
        could not be moved. A name that was taken meanwhile is left alone: the next free one is used."""
        staging, root = tree.staging, tree.staging.root
        for directory in tree.collection.directories:
            staging.tree.make(directory)
        staging.sync()
        refused: list[tuple[str, str]] = []
        if tree.merging:
            refused = staging.merge(row.target_name, tree.collection, row.exists_policy == "overwrite")
            path = os.path.join(root.path, row.target_name)
        else:
            try:
                path = staging.finish(row.target_name, row.exists_policy, row.from_user)
            except Fault as fault:
                if fault.code != "exists":
                    raise
                path = staging.finish(row.target_name, "rename", row.from_user)
                log.warning("! %s: its name was taken meanwhile: saved as %s", row.transfer_id, safe(path))
        places.remove(root, staging.name)
        root.fsync_dir()
        return path, refused

    def check_storage(self, row: Download) -> None:
        """See PartWork. What is still to come is known when the files there have been looked at: until then, any room will do."""
        with Root(row.directory) as root:
            if (
                row.part_stamp is not None
                and row.part_stamp.device != root.device
                and not root.exists(row.part_name)
            ):
                shown = root.shown(row.part_name)
                raise StorageMissing(f"{shown} is not there", "check that the drive is connected")
            self._space.check(root, row.transfer_id, min(row.size, MIB))

    def remove(self, row: Download) -> None:
        """Removes what was fetched of a folder that was given up."""
        self._store.forget_parts(row.transfer_id)
        if row.part_name:
            try:
                with Root(row.directory) as root:
                    places.remove(root, row.part_name)
            except StorageError as error:
                log.warning("! %s: %s", row.transfer_id, error.message)


class Tree:
    """What a folder's download has on the disk. One thread at a time; counters may be read by others."""

    def __init__(self, staging: Staging, collection: Collection, row: Download) -> None:
        self.staging = staging
        self.collection = collection
        self.verified = 0
        """Octets that are there and right, or that the user keeps in their place."""
        self.hashed: dict[int, Hashed] = {}
        """By index in the collection: files that are in the tree, or in the target as they should be."""
        self.kept: set[int] = set()
        """Files that are in the target and stay, whatever they hold."""
        self.merging = False
        """The target is there and is filled up."""
        self._row = row
        self._by_content: dict[bytes, list[int]] = {}
        for index, file in enumerate(collection.files):
            self._by_content.setdefault(file.content_id, []).append(index)

    @property
    def there(self) -> list[int]:
        """Indexes of the files that need nothing more."""
        return [*self.hashed, *(index for index in self.kept if index not in self.hashed)]

    def close(self) -> None:
        """Lets the descriptors go."""
        self.staging.close()

    def _file(self, index: int) -> Member:
        return self.collection.files[index]

    def _have(self, index: int, manifest: Manifest, stamp: Stamp) -> None:
        if index not in self.hashed and index not in self.kept:
            self.verified += manifest.size
        self.hashed[index] = Hashed(self._file(index).path, manifest, stamp)

    def missing(self) -> tuple[list[Want], list[int]]:
        """Small contents that are not there, and for each larger one the index of one file that has it."""
        small: list[Want] = []
        large: list[int] = []
        for content_id, indexes in self._by_content.items():
            lacking = [index for index in indexes if index not in self.hashed and index not in self.kept]
            if not lacking:
                continue
            size = self._file(lacking[0]).size
            if size <= MIN_PIECE:
                small.append(Want(content_id, size))
            else:
                large.append(lacking[0])
        return small, large

    def index_of(self, content_id: bytes) -> int:
        """A file that has this content and is not there."""
        indexes = self._by_content[content_id]
        return next((index for index in indexes if index not in self.hashed), indexes[0])

    # -- what is there already ----------------------------------------------------------------------------

    def take_up(self, trusted: dict[bytes, Manifest | None]) -> None:
        """Counts what an earlier run left: small files are read and verified; larger ones are believed when their manifest
        is among the trusted, else read and verified as well."""
        for index, file in enumerate(self.collection.files):
            stamp = self.staging.tree.stat(file.path)
            if stamp is None or stamp.size != file.size:
                continue
            manifest = trusted.get(file.content_id) or self._manifest(self.staging.tree, file)
            if manifest is not None and manifest.content_id == file.content_id:
                self._have(index, manifest, stamp)

    def look_at_target(self) -> None:
        """When files go into a folder that is there: which of its own it keeps. Under "skip" all that are in the way, under
        "overwrite" those that are as they should be."""
        root, policy = self.staging.root, self._row.exists_policy
        if policy not in ("skip", "overwrite") or not root.exists(self._row.target_name):
            return
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            target = Branches(os.open(self._row.target_name, flags, dir_fd=root.fd))
        except OSError as error:
            raise storage_error(error, f"cannot write into {root.shown(self._row.target_name)}") from error
        self.merging = True
        try:
            for index, file in enumerate(self.collection.files):
                stamp = target.stat(file.path)
                if index in self.hashed or (
                    stamp is None and not (policy == "skip" and target.exists(file.path))
                ):
                    continue
                manifest = None
                if stamp is not None and stamp.size == file.size:
                    manifest = self._manifest(target, file)
                if stamp is not None and manifest is not None and manifest.content_id == file.content_id:
                    self._have(index, manifest, stamp)
                elif policy == "skip":
                    self.kept.add(index)
                    self.verified += file.size
        finally:
            target.close()

    def _manifest(self, branches: Branches, file: Member) -> Manifest | None:
        """Of a file as it is on the disk."""
        try:
            fd = branches.open(file.path)
        except StorageError:
            return None
        try:
            return hash_file(fd, file.size)
        except (Fault, Exception) as error:  # changed, or unreadable: it is fetched again
            log.info("= %s is not taken up: %s", safe(file.path), error)
            return None
        finally:
            os.close(fd)

    def copy_local(self, catalogue: Catalogue) -> None:
        """Small contents that this device shares already are copied from its own files, verified all the same."""
        for want in self.missing()[0]:
            served = catalogue.find(want.content_id)
            if served is None or served.size != want.size:
                continue
            try:
                fd, _ = open_shared(served.path)
            except Fault:
                continue
            try:
                data = os.read(fd, want.size) if want.size else b""
            except OSError:
                continue
            finally:
                os.close(fd)
            self._put(want.content_id, data)

    # -- what comes ---------------------------------------------------------------------------------------

    def put(self, delivery: Delivery) -> tuple[list[Want], list[Want], list[tuple[Want, int]]]:
        """Verifies and writes what came: contents that are there now, those whose octets were wrong, those refused (with
        the code)."""
        good: list[Want] = []
        wrong: list[Want] = []
        refused: list[tuple[Want, int]] = []
        octets = memoryview(delivery.octets)
        for want, result in zip(delivery.wants, delivery.results, strict=True):
            if result < 0:
                refused.append((want, -result))
                continue
            data, octets = octets[:result], octets[result:]
            (good if self._put(want.content_id, data) else wrong).append(want)
        return good, wrong, refused

    def _put(self, content_id: bytes, data: bytes | memoryview) -> bool:
        """Writes a content to all its paths, if these octets are it."""
        manifest = small_manifest(data)
        if manifest.content_id != content_id:
            return False
        for index in self._lacking(content_id):
            self._have(index, manifest, self.staging.tree.write(self._file(index).path, data))
        return True

    def adopt(self, name: str, manifest: Manifest) -> None:
        """A large file is complete in the staging directory: moves it to its path, and copies it to the other paths that
        have the same content."""
        indexes = self._lacking(manifest.content_id)
        for index in indexes[1:]:
            path = self._file(index).path
            stamp = self._copy(os.path.join(self.staging.path, name), path, manifest.size)
            self._have(index, manifest, stamp)
        for index in indexes[:1]:
            self._have(index, manifest, self.staging.adopt(name, self._file(index).path))

    def _lacking(self, content_id: bytes) -> list[int]:
        return [
            index
            for index in self._by_content[content_id]
            if index not in self.hashed and index not in self.kept
        ]

    def _copy(self, source: str, path: str, size: int) -> Stamp:
        """A copy that is as sparse as its source."""
        self.staging.tree.write(path, b"")
        try:
            read, write = -1, -1
            try:
                read = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                write = self.staging.tree.open(path, writing=True)
                os.ftruncate(write, size)
                for start, end in data_extents(read, size):
                    while start < end:
                        data = os.pread(read, min(MIB, end - start), start)
                        if not data:
                            raise OSError(5, "became shorter")
                        start += os.pwrite(write, data, start)
            finally:
                for fd in (read, write):
                    if fd >= 0:
                        os.close(fd)
        except OSError as error:
            raise storage_error(error, f"cannot write {safe(path)}") from error
        stamp = self.staging.tree.stat(path)
        assert stamp is not None
        return stamp


def octets_of(wants: Iterable[Want]) -> int:
    """Octets of these contents."""
    return sum(want.size for want in wants)


def named(failures: Sequence[tuple[str, str]], most: int = 5) -> str:
    """Some paths and why they failed, for a message."""
    shown = "; ".join(f"{safe(path)}: {why}" for path, why in failures[:most])
    return shown + (f"; and {len(failures) - most} more" if len(failures) > most else "")
