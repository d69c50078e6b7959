"""The methods of the control API about what this device shares. On the event loop.

The rule: as in control/api.py, of which this is a part: parameters are checked, the peer is called, plain maps come back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from p2pd.control import params as read_params
from p2pd.control.items import Item, fault_item, folder_item, plan_item, report_item, share_item
from p2pd.control.pages import cut, page
from p2pd.control.server import Method, Progress
from p2pd.peer.folders import FolderJob
from p2pd.peer.service import PeerService
from p2pd.peer.shares import HashJob
from p2pd.storage.state import Share
from p2pd.storage.state_folders import Folder
from protocol.control import parse_reference
from protocol.display import quoted, safe
from protocol.errors import Fault
from protocol.limits import CONTROL_PAGE
from protocol.names import own_name

PUBLISH_SECONDS = 10.0
PUBLISH_PER_SECOND = 1000  # files that a tracker takes at least
PROGRESS_SECONDS = 0.2


class Sharing:
    """See the module. `peer()` is the running peer, or raises Fault refused in a pure tracker."""

    def __init__(self, peer: Callable[[], PeerService]) -> None:
        self._peer = peer
        self.methods: dict[str, Method] = {
            "add": self.add,
            "list": self.list,
            "remove": self.remove,
            "rescan": self.rescan,
        }

    # -- adding -------------------------------------------------------------------------------------------

    async def add(self, params: dict[str, Any], progress: Progress) -> Item:
        """Shares one file, or one folder."""
        asked = read_params.read(read_params.Add, params)
        folder = bool(asked.recursive) and await asyncio.to_thread(os.path.isdir, asked.path)
        if asked.dry_run:
            return await self._plan(asked, folder)
        return await (self._add_folder if folder else self._add_file)(asked, progress)

    async def _add_file(self, asked: read_params.Add, progress: Progress) -> Item:
        share, job = await self._peer().shares.add(asked.path, asked.name)
        if asked.wait is False:
            return {**share_item(share), "added": job is not None, "published": False, "warnings": []}
        if job is not None:
            share = await self._hashed(job, progress)
        published, warnings = await self._published(share.size, 1, progress)
        return {**share_item(share), "added": job is not None, "published": published, "warnings": warnings}

    async def _add_folder(self, asked: read_params.Add, progress: Progress) -> Item:
        job = await self._peer().folders.add(asked.path, asked.name, asked.excludes or [], bool(asked.hidden))
        if asked.wait is False:
            return {**folder_item(job.folder), "added": True, "published": False, "warnings": []}
        report = await self._hashed(job, progress)
        folder = report.folder
        published, warnings = await self._published(folder.size, folder.files, progress)
        return {
            **report_item(report),
            "added": folder.content_id != report.previous,
            "published": published,
            "warnings": warnings,
        }

    async def _plan(self, asked: read_params.Add, folder: bool) -> Item:
        peer = self._peer()
        if not folder:
            stamp = await peer.shares.plan(asked.path, asked.name)
            return plan_item(asked.path, stamp[0], 1, stamp[1], [])
        name, tree = await peer.folders.plan(asked.path, asked.name, asked.excludes or [], bool(asked.hidden))
        return plan_item(os.path.realpath(asked.path), name, len(tree.files), tree.size, tree.left, True)

    async def _hashed(self, job: HashJob | FolderJob, progress: Progress) -> Any:
        """The result of the job: a Share, or a Report."""
        task: asyncio.Task[Any] | None = job.task
        assert task is not None
        while not task.done():
            await asyncio.wait({task}, timeout=PROGRESS_SECONDS)
            if not task.done():
                await progress({"stage": "hashing", "done_bytes": job.done, "total_bytes": job.size})
        return task.result()

    async def _published(self, size: int, files: int, progress: Progress) -> tuple[bool, list[str]]:
        """Whether a tracker knows what is shared, and warnings. Raises Fault auth when all have another password: without a new one
        here nobody will ever see it."""
        peer = self._peer()
        await peer.finder.settle()
        await progress({"stage": "publishing", "done_bytes": size, "total_bytes": size})
        patience = PUBLISH_SECONDS + files / PUBLISH_PER_SECOND
        revision = peer.store.revision
        trackers = list(peer.trackers)  # a reload may change them meanwhile
        results = await asyncio.gather(*(tracker.wait_published(revision, patience) for tracker in trackers))
        strangers = [
            tracker.error for tracker in trackers if tracker.state == "wrong_password" and tracker.error
        ]
        if trackers and len(strangers) == len(trackers) and not any(results):
            first = strangers[0]
            raise Fault(
                "auth", f"shared here, but nobody sees it: {first.message}", first.hint, first.details
            )
        warnings = []
        for tracker, done in zip(trackers, results, strict=True):
            if not done:
                reason = (
                    tracker.error.message if tracker.error else f"the tracker at {tracker.endpoint} is slow"
                )
                warnings.append(f"not published yet: {reason}; it will be as soon as the tracker takes it")
        return any(results), warnings

    # -- looking and removing -----------------------------------------------------------------------------

    async def list(self, params: dict[str, Any], progress: Progress) -> Item:
        """Own shares, by name; a folder is one of them."""
        asked = read_params.read(read_params.Page, params)
        store = self._peer().store
        # Files have positive numbers, folders negative ones.
        rows: list[tuple[str, int, Item]] = [
            (folder.name, -folder.folder_id, folder_item(folder)) for folder in store.list_folders()
        ]
        rows += [(share.name, share.share_id, share_item(share)) for share in store.list_shares()]
        rows.sort(key=lambda row: row[:2])
        if asked.cursor is not None:
            number, _, name = asked.cursor.partition(":")
            if not number.removeprefix("-").isdigit():
                raise Fault("usage", "bad cursor", "take it from `next` of the page before")
            rows = [row for row in rows if row[:2] > (name, int(number))]
        items, rest = cut([item for _, _, item in rows[: asked.limit or CONTROL_PAGE]])
        count = len(items)
        more = rest or len(rows) > count
        return page(items, f"{rows[count - 1][1]}:{rows[count - 1][0]}" if more and count else None)

    async def remove(self, params: dict[str, Any], progress: Progress) -> Item:
        """Shares a file or a folder no more."""
        asked = read_params.read(read_params.Ref, params)
        folder = self._own_folder(asked.ref)
        if folder is not None:
            return {**folder_item(await self._peer().folders.remove(folder)), "removed": True}
        share = self._own_share(asked.ref)
        return {**share_item(self._peer().shares.remove(share)), "removed": True}

    async def rescan(self, params: dict[str, Any], progress: Progress) -> Item:
        """Looks at shared folders again, all of them or the one around a path, and at the shared files."""
        asked = read_params.read(read_params.Rescan, params)
        peer = self._peer()
        if asked.path is None:
            folders = peer.store.list_folders()
        else:
            found = await asyncio.to_thread(peer.folders.around, asked.path)
            folders = [] if found is None else [found]
            if found is None and peer.store.share_by_path(os.path.realpath(asked.path)) is None:
                raise Fault("not_found", f"{safe(asked.path)} is not shared", "p2pctl list shows what is")
        items: list[Item] = []
        failed: list[Item] = []
        for folder in folders:
            try:
                items.append(report_item(await self._hashed(peer.folders.rescan(folder), progress)))
            except Fault as fault:
                if len(folders) == 1:
                    raise
                failed.append({"subject": folder.path, **(fault_item(fault) or {})})
        await peer.shares.scan()
        files = sum(item["files"] or 0 for item in items)
        _, late = await self._published(0, files, progress)
        return {**page(items, None), "partial": bool(failed), "warnings": late, "failed": failed}

    def _own_folder(self, ref: str) -> Folder | None:
        """The folder that a reference means: by id, name or path. Raises Fault ambiguous."""
        reference = parse_reference(ref)
        matches = [
            folder
            for folder in self._peer().store.list_folders()
            if reference.text == folder.path
            or own_name(reference.text) == folder.name
            or (
                reference.kind in ("id", "prefix")
                and folder.content_id is not None
                and folder.content_id.hex().startswith(reference.value)
            )
        ]
        if len(matches) > 1:
            found = [
                {
                    "id": one.content_id.hex() if one.content_id else "",
                    "name": one.path,
                    "size_bytes": one.size,
                }
                for one in matches[:20]
            ]
            message = f"{quoted(ref)} means {len(matches)} folders"
            raise Fault("ambiguous", message, "name one by its path", {"matches": found})
        return matches[0] if matches else None

    def _folder_with(self, ref: str) -> Folder | None:
        """The folder that holds the file of this path, or of this name in the swarm."""
        store, name = self._peer().store, own_name(ref.removeprefix("name:"))
        for folder in store.list_folders():
            members = store.members(folder.folder_id)
            if any(f"{folder.name}/{member.name}" == name for member in members):
                return folder
            if any(os.path.join(folder.path, member.path) == ref for member in members):
                return folder
        return None

    def _own_share(self, ref: str) -> Share:
        reference = parse_reference(ref)
        matches = self._peer().finder.own(reference)
        if not matches:
            matches = [
                share
                for share in self._peer().store.list_shares()
                if reference.text == share.path or own_name(reference.text) == share.name
            ]
        if not matches and (folder := self._folder_with(ref)) is not None:
            raise Fault(
                "usage",
                f"{quoted(ref)} is shared as a part of the folder {quoted(folder.name)}, and cannot be removed alone",
                "share the folder again with --exclude PATH, or remove it as a whole",
            )
        if not matches:
            raise Fault("not_found", f"{quoted(ref)} is not shared here", "p2pctl list shows what is")
        if (
            len({share.share_id for share in matches}) > 1
            and len({share.content_id for share in matches}) > 1
        ):
            found = [
                {
                    "id": share.content_id.hex() if share.content_id else "",
                    "name": share.name,
                    "size_bytes": share.size,
                }
                for share in matches[:20]
            ]
            raise Fault(
                "ambiguous",
                f"{quoted(ref)} means {len(matches)} shares",
                "name one by its id",
                {"matches": found},
            )
        return matches[0]
