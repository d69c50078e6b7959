"""What somebody meant who wrote a word that is not known: the nearest of those that are, for a hint.

Pure; imported by both programs when a word was wrong, never before.
"""

from __future__ import annotations

from difflib import get_close_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CUTOFF = 0.6
"""Likeness from 0 to 1 below which a guess would be noise."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The word of `known` that is most like `word`, or "". Dashes in front do not count, nor does case or `-` for `_`."""
    plain = {_plain(one): one for one in known}
    near = get_close_matches(_plain(word), plain, 1, CUTOFF)
    return plain[near[0]] if near else ""


def hint(word: str, known: Iterable[str], otherwise: str) -> str:
    """`did you mean X?`, or `otherwise` when nothing is near."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else otherwise


def _plain(word: str) -> str:
    return word.lstrip("-").replace("-", "_").lower()
