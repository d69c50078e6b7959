"""Files that are being mended, as they survive a kill. Every method is one transaction; any thread may call."""

from __future__ import annotations

import os
from dataclasses import dataclass

from p2pd.storage.hashing import Stamp
from p2pd.storage.sqlite import Database
from protocol.bitfield import Bitfield
from protocol.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Mending:
    """One file, its damaged pieces (bits) and the name of the file that holds them. `stamp` is what it had, and gets back."""

    path: str
    manifest: Manifest
    bad: int
    side_name: str
    stamp: Stamp


class Mendings(Database):
    """The part of State that is about files being mended."""

    def add_mending(self, mending: Mending) -> None:
        """Records it; call when the side file is durable and before the first octet is written."""
        manifest, stamp = mending.manifest, mending.stamp
        self.execute(
            "INSERT OR REPLACE INTO mending VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                os.fsencode(mending.path),
                manifest.content_id,
                Bitfield.from_bits(manifest.count, mending.bad).to_bytes(),
                mending.side_name,
                stamp.size,
                stamp.mtime_ns,
                stamp.inode,
                stamp.device,
                manifest.encode(),
            ),
        )

    def mendings(self) -> list[Mending]:
        """Those that were not finished."""
        found = []
        for row in self.query("SELECT * FROM mending"):
            manifest = Manifest.decode(bytes(row["manifest"]), bytes(row["content_id"]))
            bad = Bitfield.from_bytes(row["bad"], manifest.count).bits
            stamp = Stamp(row["stamp_size"], row["stamp_mtime_ns"], row["stamp_inode"], row["stamp_device"])
            found.append(Mending(os.fsdecode(row["path"]), manifest, bad, row["side_name"], stamp))
        return found

    def remove_mending(self, path: str) -> None:
        """It is finished, or given up."""
        self.execute("DELETE FROM mending WHERE path = ?", (os.fsencode(path),))
