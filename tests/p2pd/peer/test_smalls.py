"""p2pd/peer/smalls.py: many small files in one answer, each as it was hashed or refused by itself."""

from __future__ import annotations

import os
from pathlib import Path

from p2pd.peer.catalogue import Catalogue, Served
from p2pd.peer.smalls import SmallContents
from p2pd.storage.hashing import stamp_from
from protocol.errors import Refusal
from protocol.limits import MIB
from tests.fakes.swarm import manifest_of


class Bench:
    """A catalogue of real files, and a buffer of 100 octets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.catalogue = Catalogue(lambda content_id: None)
        self.changed: list[Served] = []
        self.smalls = SmallContents(self.catalogue, memoryview(bytearray(100)), self.note)

    def note(self, served: Served) -> int:
        self.changed.append(served)
        return Refusal.CHANGED

    def share(self, name: str, data: bytes) -> bytes:
        path = self.directory / name
        path.write_bytes(data)
        content_id = manifest_of(data).content_id
        stamp = stamp_from(os.stat(path))
        self.catalogue.put(Served(content_id, 1, str(path), stamp, len(data), MIB, int(bool(data))))
        return content_id

    def read(self, *contents: bytes) -> tuple[list[int], bytes]:
        results, view = self.smalls.read(contents)
        return results, bytes(view)


def test_they_come_in_the_order_asked_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    one, empty, two = bench.share("1", b"one"), bench.share("0", b""), bench.share("2", b"second")
    assert bench.read(two, one, empty, two) == ([6, 3, 0, 6], b"secondonesecond")
    assert bench.changed == []


def test_one_that_is_unknown_or_does_not_fit_leaves_the_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    one, big = bench.share("1", b"one"), bench.share("b", bytes(99))
    assert bench.read(bytes(32), one, big, one) == ([-Refusal.NOT_FOUND, 3, -Refusal.LIMIT, 3], b"oneone")


def test_a_changed_or_missing_file_is_refused_and_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    one, two, three = bench.share("1", b"one"), bench.share("2", b"two"), bench.share("3", b"three")
    (tmp_path / "1").write_bytes(b"longer")
    (tmp_path / "2").unlink()
    assert bench.read(one, two, three) == ([-Refusal.CHANGED, -Refusal.CHANGED, 5], b"three")
    assert [Path(served.path).name for served in bench.changed] == ["1", "2"]
