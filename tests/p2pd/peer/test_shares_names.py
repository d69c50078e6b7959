"""p2pd/peer/shares.py: what others call a file whose name is not in Unicode normal form C."""

from __future__ import annotations

import asyncio
from pathlib import Path

from p2pd.peer.catalogue import Catalogue
from p2pd.peer.shares import Shares
from p2pd.storage.state import State
from tests.fakes.swarm import manifest_of

DATA = b"as on a Mac"


def test_a_name_that_is_not_in_nfc_is_given_out_in_it(tmp_path: Path) -> None:
    async def work(shares: Shares) -> None:
        path = tmp_path / "re\u0301sume\u0301.bin"
        path.write_bytes(DATA)
        assert await shares.plan(str(path), None) == ("r\xe9sum\xe9.bin", len(DATA))
        share, job = await shares.add(str(path), None)
        assert job is not None
        assert job.task is not None
        await job.task
        assert (share.path, share.name) == (str(path), "r\xe9sum\xe9.bin")
        renamed, job = await shares.add(str(path), "u\u0308")
        assert (job, renamed.name) == (None, "\xfc")
        shares.remove(share)
        downloaded = shares.add_download(str(path), "x", manifest_of(DATA))
        assert (downloaded.path, downloaded.name) == (str(path), "r\xe9sum\xe9.bin")
        await shares.close()

    with State(tmp_path / "peer.db") as store:
        asyncio.run(work(Shares(store, Catalogue(store.manifest), lambda: None, lambda content_id: None)))
