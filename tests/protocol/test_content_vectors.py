"""The golden manifests: the code makes them, the specification quotes them."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from protocol.collection import Collection, Member
from protocol.manifest import Manifest, piece_size_for

ROOT = Path(__file__).parents[2]
FILES = json.loads((ROOT / "tests/vectors/content.json").read_text())["files"]
OCTETS = {"empty": b"", "hello": b"hello world", "one piece and an octet": b"p" * 2**20 + b"q"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file["name"])
def test_the_manifest_and_its_id(file: dict[str, str]) -> None:
    data = OCTETS[file["name"]]
    pieces = b"".join(blake3(data[start : start + 2**20]).digest() for start in range(0, len(data), 2**20))
    manifest = Manifest(len(data), piece_size_for(len(data)), sha256(data).digest(), pieces)
    assert manifest.encode().hex() == file["manifest"]
    assert manifest.content_id.hex() == file["content_id"]


def test_the_specification_quotes_them() -> None:
    text = (ROOT / "docs/protocol.md").read_text()
    for file in FILES:
        assert f"`{file['manifest']}`" in text
        assert f"`{file['content_id']}`" in text


COLLECTIONS = json.loads((ROOT / "tests/vectors/content.json").read_text())["collections"]


@pytest.mark.parametrize("folder", COLLECTIONS, ids=lambda folder: folder["name"])
def test_the_collection_and_its_id(folder: dict[str, Any]) -> None:
    members = [Member(path, size, bytes.fromhex(content)) for path, size, content in folder["files"]]
    collection = Collection(folder["directories"], reversed(members))
    assert collection.encode().hex() == folder["octets"]
    assert collection.content_id.hex() == folder["content_id"]
    assert collection.sha256.hex() == folder["sha256"]
    text = (ROOT / "docs/protocol.md").read_text()
    assert all(f"`{folder[key]}`" in text for key in ("octets", "content_id", "sha256"))
