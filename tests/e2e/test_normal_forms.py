"""Names that are not in Unicode normal form C, as on a Mac: shared, found and downloaded in it, and left alone on disk."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fakes.processes import Swarm, make_file, sha256

COMPOSED = "Résumé für Zoë.pdf"
DECOMPOSED = "Re\u0301sume\u0301 fu\u0308r Zoe\u0308.pdf"
TREE = {"O\u0308sterreich/Ta\u0303o.txt": "Österreich/Tão.txt", "e\u0301": "é", "plain": "plain"}


def test_a_file(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
    path = make_file(swarm.folder("mac") / DECOMPOSED, 300_000)
    assert alice.ok("add", path)[0]["name"] == COMPOSED
    assert [(item["name"], item["path"]) for item in alice.ok("list")] == [(COMPOSED, str(path))]
    for text in (COMPOSED, DECOMPOSED, "resume", "re\u0301sume\u0301", "zoë"):
        assert [hit["name"] for hit in bob.ok("search", text)] == [COMPOSED]
    target = swarm.folder("in")
    for ref, leaf in ((COMPOSED, "one"), (DECOMPOSED, "two")):
        assert sha256(Path(bob.ok("download", ref, "-o", target / leaf)[0]["path"])) == sha256(path)
    item = bob.ok("download", DECOMPOSED, "-o", target)[0]
    assert item["path"] == str(target / f"downloaded_{COMPOSED}")
    assert alice.ok("verify", DECOMPOSED)[0]["state"] == "good"
    assert os.listdir(path.parent) == [DECOMPOSED]
    assert alice.ok("remove", DECOMPOSED)[0]["removed"]


def test_a_folder(swarm: Swarm) -> None:
    tracker = swarm.tracker()
    alice, bob = swarm.peer("alice", tracker), swarm.peer("bob", tracker).connected()
    source = swarm.folder("Bu\u0308cher")
    for number, name in enumerate(TREE):
        (source / name).parent.mkdir(exist_ok=True)
        make_file(source / name, 70_000, seed=number)
    (source / "le\u0301er").mkdir()
    added = alice.ok("add", "-r", source)[0]
    assert (added["name"], added["files"], added["failed_count"]) == ("Bücher", len(TREE), 0)
    seen = alice.ok("rescan", source)[0]
    assert (seen["new"], seen["changed"], seen["vanished"], seen["id"]) == ([], [], [], added["id"])

    target = swarm.folder("in")
    top = Path(bob.ok("download", "Bu\u0308cher", "-o", target)[0]["path"])
    assert top == target / "downloaded_Bücher"
    there = {path.relative_to(top).as_posix() for path in top.rglob("*")}
    assert there == {*TREE.values(), "Österreich", "léer"}
    for name, shown in TREE.items():
        assert sha256(top / shown) == sha256(source / name)
    # The tree that others have is the same collection: the name of a file on one disk is no part of it.
    assert bob.ok("list")[0]["id"] == added["id"]
    single = bob.ok("download", "Bücher/O\u0308sterreich/Ta\u0303o.txt", "-o", target)[0]
    assert sha256(Path(single["path"])) == sha256(source / "O\u0308sterreich/Ta\u0303o.txt")

    # A damaged file is mended where it is.
    hurt = source / "O\u0308sterreich/Ta\u0303o.txt"
    before, status = sha256(hurt), os.stat(hurt)
    with open(hurt, "r+b") as file:
        file.write(b"other octets")
    os.utime(hurt, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert alice.ctl("verify", "Bücher").status != 0
    alice.ctl("verify", "--repair", "Bücher")
    assert sha256(hurt) == before
    assert alice.ctl("verify", "Bücher").status == 0
    assert (source / "O\u0308sterreich").is_dir()

    # What is shared stays so; what others could not tell from it is told.
    (source / "é").write_text("composed")
    again = alice.ctl("rescan", source)
    assert again.status == 12
    assert "only in the Unicode normal form" in again.out + again.err
    assert bob.ok("info", "Bücher/é")[0]["size_bytes"] == 70_000
    (source / "e\u0301").unlink()
    assert alice.ctl("rescan", source).status == 0
    assert bob.ok("info", "Bücher/é")[0]["size_bytes"] == len("composed")
