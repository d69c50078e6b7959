"""What a million shared files look like: names, contents and devices for bench/tracker.py, the same for the same seed.

Two thirds of the names are made of words as people name their files, the others are the paths below /usr on this machine, under
a directory of the device (so one in three has a directory in front). A seventh of all entries are of contents that many devices
have, the most popular of them of nearly all (Zipf); each other content is one device's own.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from hashlib import shake_128
from itertools import accumulate

from protocol.errors import RemoteProtocolError
from protocol.names import check_path
from protocol.tracker import Entry


def _words(text: str) -> list[str]:
    return text.split()


TOPICS = _words("""
annual report invoice budget contract meeting minutes agenda holiday summer winter beach mountain birthday wedding family garden
kitchen house car insurance tax letter application thesis draft final copy scan photo picture album track live remix session
concert festival interview podcast episode season movie trailer documentary lecture lesson course exercise solution exam notes
summary backup export import database dump archive snapshot release update patch driver manual guide tutorial handbook reference
datasheet schematic drawing plan map route track survey sample measurement experiment results analysis model training dataset
corpus dictionary recipe menu shopping travel ticket booking receipt statement account salary payroll customer supplier order
delivery stock price list project proposal offer presentation slides poster flyer logo icon banner font theme wallpaper screenshot
recording voice memo song
""")
PLACES = _words("""
berlin paris london rome madrid vienna prague lisbon oslo dublin athens zürich münchen köln genève kraków tokyo kyoto boston
austin
""")
PEOPLE = _words("""
anna ben clara david emma felix greta hugo ida jonas klara leo mia noah olga paul rosa simon tilda viktor zoé rené andré søren
""")
ENDS = {
    "jpg": 22, "pdf": 18, "mp3": 12, "png": 7, "txt": 7, "docx": 6, "mp4": 6, "zip": 5, "xlsx": 4, "html": 3, "flac": 2, "mkv": 2,
    "tar.gz": 2, "csv": 2, "epub": 1, "iso": 1,
}  # fmt: skip
JOINTS = (" ", " ", "_", "_", "-", ".")
SYLLABLES = _words("""
ba be bi bo da de di do fa ga ge ka ko la le li lo ma me mi mo na ne no pa pe po ra re ri ro sa se si so ta te ti to va vi wo za
zu
""")
POPULAR = 20_000  # contents that many have
SHARED = 1 / 7  # of the entries
DATE = 1_700_000_000


class Data:
    """The files of so many devices. `usr`: use the names below /usr as well."""

    def __init__(self, seed: int, per_device: int, usr: bool = True) -> None:
        self.seed = seed
        self.per_device = per_device
        rng = random.Random(seed)
        self._usr = _usr_names() if usr else []
        # words nobody else uses: what a rare word finds
        self._rare = ["".join(rng.choices(SYLLABLES, k=rng.randrange(3, 6))) for _ in range(50_000)]
        self._weights = list(accumulate(1.0 / (rank + 8) for rank in range(POPULAR)))
        self._popular = [self._made_up(rng) for _ in range(POPULAR)]

    @property
    def usr_names(self) -> int:
        """How many names this machine gave."""
        return len(self._usr)

    def entries(self, device: int, count: int | None = None) -> Iterator[Entry]:
        """What one device shares; about 1 in 1,000 pairs may come twice."""
        rng = random.Random(f"{self.seed} {device}")
        owner = rng.choice(PEOPLE)
        start = rng.randrange(len(self._usr)) if self._usr else 0
        for number in range(self.per_device if count is None else count):
            added = DATE + rng.randrange(60_000_000)
            if rng.random() < SHARED:
                [which] = rng.choices(range(POPULAR), cum_weights=self._weights)
                name = self._popular[which]
                # some rename what they got
                name = name if rng.random() < 0.95 else f"{owner} {name}"
                yield _entry(which, name, which * 7919, added)
                continue
            of_usr = self._usr and rng.random() < 1 / 3
            name = f"{owner}/{self._usr[(start + number) % len(self._usr)]}" if of_usr else self._made_up(rng)
            yield _entry((device + 1) << 32 | number, name, int(rng.lognormvariate(12, 3)), added)

    def rare_word(self, rng: random.Random) -> str:
        """One of the words that a handful of names have."""
        return rng.choice(self._rare)

    def _made_up(self, rng: random.Random) -> str:
        words = rng.choices(TOPICS, k=rng.randrange(1, 4))
        if rng.random() < 0.35:
            words.append(rng.choice(self._rare))
        if rng.random() < 0.2:
            words.append(rng.choice(PLACES))
        if rng.random() < 0.15:
            words.insert(0, rng.choice(PEOPLE))
        if rng.random() < 0.4:
            words.append(str(rng.randrange(1995, 2027)))
        if rng.random() < 0.5:
            words.append(f"{rng.randrange(10_000):04}")
        if rng.random() < 0.4:
            words = [word.capitalize() for word in words]
        [end] = rng.choices(list(ENDS), list(ENDS.values()))
        return f"{rng.choice(JOINTS).join(words)}.{end}"


def _entry(number: int, name: str, size: int, added: int) -> Entry:
    digest = _digests(number)
    return Entry(digest[:32], digest[32:], size % 2**40, name, added)


def _digests(number: int) -> bytes:
    """Content id and SHA-256: they look random, as hashes do, so in an index they are next to nobody they came with."""
    return shake_128(number.to_bytes(8, "big")).digest(64)


def _usr_names() -> list[str]:
    names = []
    for base, directories, files in os.walk("/usr"):
        directories.sort()
        for file in sorted(files):
            name = os.path.relpath(os.path.join(base, file), "/usr")
            try:
                check_path(name)
            except (RemoteProtocolError, UnicodeError):
                continue
            names.append(name)
    return names


WORDS_ASKED = {
    "rare": 30, "two words": 25, "common": 15, "three words": 10, "short": 8, "miss": 7, "phrase": 3, "id": 2,
}  # fmt: skip
"""Kinds of searches and how many of a hundred each is."""


def question(data: Data, kind: str, rng: random.Random) -> tuple[str, str]:
    """The text of a search of a kind, and its phrase."""
    if kind == "rare":
        return data.rare_word(rng), ""
    if kind == "two words":
        return f"{rng.choice(TOPICS)} {rng.choice(PLACES + PEOPLE + TOPICS)}", ""
    if kind == "common":
        return rng.choice(["pdf", "jpg", "report", "2024", "photo", "mp3", "usr", "python", "doc"]), ""
    if kind == "three words":
        return f"{rng.choice(TOPICS)} {rng.randrange(1995, 2027)} {rng.choice(list(ENDS))}", ""
    if kind == "short":
        return rng.choice(["pd", "re", "20", "an", "qz", "7z", "io", "so"]), ""
    if kind == "miss":
        return "".join(rng.choices("qxzjvwk", k=rng.randrange(4, 9))), ""
    if kind == "phrase":
        return "", f"{rng.choice(TOPICS)} {rng.choice(TOPICS)}"
    return _digests((rng.randrange(1000) + 1) << 32 | rng.randrange(100))[:4].hex(), ""
