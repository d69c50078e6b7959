"""p2pd/tracker/wants.py: each wish is answered by what matches it and by nothing else, and costs nothing afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker import wants as wants_module
from p2pd.tracker.charging import Charging
from p2pd.tracker.policy import Policy
from p2pd.tracker.registry_sqlite import SqliteRegistry
from p2pd.tracker.wants import Wants
from protocol.limits import WANT_SECONDS
from protocol.searching import fold, terms
from protocol.tracker import By, Entry
from protocol.wanting import Want, Wanted, Wish
from tests.fakes.registry_contract import entry as contract_entry
from tests.fakes.registry_contract import join

CHARGING = Charging(Policy(), threading.Lock(), lambda: 0.0)
ONE, TWO, THREE = (bytes([number]) * 20 for number in (1, 2, 3))


@pytest.fixture
def registry() -> Iterator[SqliteRegistry]:
    registry = SqliteRegistry(MEMORY)
    registry.resume(0.0, 100.0)
    yield registry
    registry.close()


def wish(
    text: str, by: By = By.TEXT, ext: str = "", sizes: tuple[int, int] = (0, 10**9), **more: object
) -> Wish:
    return Wish(int(by), text, ext, *sizes, **more)  # type: ignore[arg-type]


def entry(name: str, number: int = 5, size: int = 100) -> Entry:
    return Entry(bytes([number]) * 32, bytes([number ^ 255]) * 32, size, name, 1)


def park(wants: Wants, device: bytes, *wishes: Wish, req: int = 7, now: float = 0.0) -> bool:
    return wants.park(device, device[:1], Want(req, list(wishes)), now, 1.0)


def told(wants: Wants) -> list[tuple[bytes, Wanted]]:
    return wants.take()


@pytest.mark.parametrize(
    ("one", "hit", "miss"),
    [
        (wish("holiday video"), "Video of the HOLIDAYS.mp4", "holiday.mp4"),
        (wish("a"), "cAt", "dog"),
        (wish("", ext="ogg"), "song.OGG", "ogg.txt"),
        (wish("été"), "ETE 1.txt", "et.txt"),
        (wish("", phrases=["annual report"]), "the Annual-Report.pdf", "report annual"),
        (wish("tape", without=["demo"]), "tape 1", "demo tape"),
        (wish("a name", By.NAME), "a name", "A name"),
        (wish("05" * 32, By.ID), "x", None),
        (wish("05050505", By.ID), "x", None),
        (wish("fafafafa", By.SHA256), "x", None),
    ],
)
@pytest.mark.parametrize("few", [wants_module.FEW, 0])
def test_a_wish_is_told_of_what_matches(
    monkeypatch: pytest.MonkeyPatch, one: Wish, hit: str, miss: str | None, few: int
) -> None:
    monkeypatch.setattr(wants_module, "FEW", few)
    wants = Wants()
    park(wants, ONE, wish("something else"), one)
    wants.published(TWO, [entry(miss or "other", 6)])
    assert told(wants) == []
    wants.published(ONE, [entry(hit)])  # its own
    assert told(wants) == []
    wants.published(TWO, [entry("nothing", 9), entry(hit)])
    assert told(wants) == [(ONE[:1], Wanted(7, [1]))]
    assert (wants.count, len(wants)) == (0, 0)
    assert wants._heads == {}
    assert not any(wants._by_length.values())
    assert not any(wants._exact.values())


def test_sizes_are_heeded() -> None:
    wants = Wants()
    park(wants, ONE, wish("alpha", sizes=(10, 20)))
    wants.published(TWO, [entry("alpha", size=9), entry("alpha", size=21)])
    assert told(wants) == []
    wants.published(TWO, [entry("alpha", size=10)])
    assert len(told(wants)) == 1


def test_everybody_who_waits_is_told_and_once() -> None:
    wants = Wants()
    park(wants, ONE, wish("alpha"), wish("alp"))
    park(wants, TWO, wish("alpha"))
    wants.published(THREE, [entry("alpha 1"), entry("alpha 2")])
    assert told(wants) == [(ONE[:1], Wanted(7, [0, 1])), (TWO[:1], Wanted(7, [0]))]
    wants.published(THREE, [entry("alpha 3")])
    assert told(wants) == []


def test_a_newer_question_answers_the_older_and_an_empty_one_itself() -> None:
    wants = Wants()
    park(wants, ONE, wish("alpha"), req=1)
    park(wants, ONE, wish("beta"), req=2)
    assert told(wants) == [(ONE[:1], Wanted(1, []))]
    wants.published(TWO, [entry("alpha")])
    assert told(wants) == []
    park(wants, ONE, req=3)
    assert told(wants) == [(ONE[:1], Wanted(2, [])), (ONE[:1], Wanted(3, []))]
    assert (wants.count, len(wants)) == (0, 0)


def test_a_question_is_answered_with_nothing_in_the_end_and_dropped_with_its_session(
    registry: SqliteRegistry,
) -> None:
    wants = Wants()
    park(wants, ONE, wish("alpha"))
    park(wants, TWO, wish("beta"))
    wants.gone(TWO[:1])
    wants.look_up(registry, WANT_SECONDS - 1, CHARGING)
    assert told(wants) == []
    wants.look_up(registry, WANT_SECONDS, CHARGING)
    assert told(wants) == [(ONE[:1], Wanted(7, []))]


def test_what_is_there_already_is_looked_up_a_few_at_a_time(registry: SqliteRegistry) -> None:
    wants = Wants()
    join(registry, 3, contract_entry(1, "beta"))
    park(wants, ONE, wish("alpha"), wish("beta"), wish("gamma"))
    wants.look_up(registry, 0.0, CHARGING, 1)
    assert (told(wants), wants.pending) == ([], 2)
    wants.look_up(registry, 0.0, CHARGING, 1)
    assert told(wants) == [(ONE[:1], Wanted(7, [1]))]
    park(wants, bytes([3]) * 20, wish("beta"))
    wants.look_up(registry, 0.0, CHARGING)
    assert (told(wants), wants.pending) == ([], 0)  # it is its own
    wants.look_again(0.0)
    assert wants.pending == 1


@pytest.mark.parametrize(
    ("one", "hit"), [(wish("alpha", without=["zeta"]), "alpha"), (wish("05050505", By.ID), "beta")]
)
def test_one_batch_compares_so_many_and_the_rest_is_looked_up(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch, one: Wish, hit: str
) -> None:
    """Wishes that everything nearly matches, of a few devices, made each batch of others take seconds."""
    compared: list[str] = []
    plain = wants_module._matches
    monkeypatch.setattr(
        wants_module, "_matches", lambda query, *rest: compared.append(query.text) or plain(query, *rest)
    )
    monkeypatch.setattr(wants_module, "PAIRS", 10)
    wants = Wants()
    park(wants, ONE, *[one] * 9)
    wants.look_up(registry, 0.0, CHARGING)
    assert wants.pending == 0
    wants.published(TWO, [entry(f"{hit} {number}") for number in range(9)])
    assert len(compared) <= 10
    assert wants.pending == 9
    join(registry, 2, contract_entry(5, hit))
    wants.look_up(registry, 0.0, CHARGING)
    assert told(wants) == [(ONE[:1], Wanted(7, list(range(9))))]


def test_asking_again_and_again_queues_a_wish_once(registry: SqliteRegistry) -> None:
    wants = Wants()
    for _ in range(100):
        park(wants, ONE, wish("alpha"), wish("beta"))
        wants.published(TWO, [entry("gamma")])
    assert wants.pending == 2
    wants.look_up(registry, 0.0, CHARGING)
    park(wants, ONE, wish("alpha"))
    assert wants.pending == 1


def test_wishes_are_bounded() -> None:
    wants = Wants(most=3)
    park(wants, ONE, wish("alpha"), wish("beta"))
    assert not park(wants, TWO, wish("alpha"), wish("beta"))
    park(wants, ONE, wish("alpha"), wish("beta"), wish("gamma"))
    assert wants.count == 3


WORDS = st.text(alphabet="abc é/", min_size=1, max_size=6).filter(lambda text: fold(text).strip(" "))
NAMES = st.text(alphabet="abcé /.", min_size=1, max_size=12)


@given(wishes=st.lists(WORDS, min_size=1, max_size=8), names=st.lists(NAMES, max_size=8), few=st.booleans())
def test_the_index_finds_what_comparing_everything_finds(
    wishes: list[str], names: list[str], few: bool
) -> None:
    found = [terms(text, (), (), (), "") for text in wishes]
    expected = [i for i, one in enumerate(found) if any(one.matches(fold(name)) for name in names)]
    before = wants_module.FEW
    wants_module.FEW = 0 if few else before
    try:
        wants = Wants()
        park(wants, ONE, *map(wish, wishes))
        wants.published(TWO, [entry(name) for name in names])
    finally:
        wants_module.FEW = before
    assert told(wants) == ([(ONE[:1], Wanted(7, expected))] if expected else [])


def test_wishes_of_a_device_whose_wishes_are_dear_wait(registry: SqliteRegistry) -> None:
    wants, charging = Wants(), Charging(Policy(), threading.Lock(), count().__next__)
    wants.park(ONE, 1, Want(1, [wish("alpha"), wish("beta"), wish("gamma"), wish("delta")]), 0.0, 1.0)
    wants.park(TWO, 2, Want(2, [wish("beta")]), 0.0, 1.0)
    join(registry, 3, contract_entry(1, "delta"))
    join(registry, 4, contract_entry(2, "beta"))
    wants.look_up(registry, 0.0, charging)  # each takes a second: two are free, one is owed
    assert wants.take() == [(1, Wanted(1, [1])), (2, Wanted(2, [0]))]
    wants.park(ONE, 1, Want(3, [wish("delta")]), 0.0, 1.0)
    wants.look_up(registry, 0.0, charging)
    assert (wants.take(), wants.pending) == ([], 1)
    wants.look_up(registry, 30.0, charging)
    assert (wants.take(), wants.pending) == ([(1, Wanted(3, [0]))], 0)
