"""The meaning of p2pd.tracker.registry.Registry, as tests that every implementation passes: devices and shares.

An implementation's test file derives from `RegistryContract`, from `FindingContract` in registry_contract_finding.py
and from `OperatingContract` in registry_contract_operating.py, and gives the fixture `store`: a callable that opens a
registry over the same data each time, with bounds of 6 devices, 40 files, 10 files a device and 4 bans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from p2pd.tracker import search
from p2pd.tracker.registry import Card, DeviceFull, OutOfStep, Registry, RegistryFull, Share
from protocol.limits import MAX_FILE
from protocol.tracker import By, Entry, Gone, Hit, Publish, Search, Sort

EPOCH = b"epoch--1"
OTHER_EPOCH = b"epoch--2"
LEASE = 100.0
Open = Callable[[], Registry]


def device(number: int) -> bytes:
    """A device id."""
    return bytes([number]) * 20


def entry(number: int, name: str, added_at: int = 1, size: int | None = None) -> Entry:
    """The entry of content `number`."""
    return Entry(
        bytes([number]) * 32, bytes([number ^ 255]) * 32, number if size is None else size, name, added_at
    )


def announce(
    registry: Registry, who: int, now: float = 0.0, revision: int = 10**6, port: int = 8001
) -> Share:
    """Device `who` announces itself."""
    card = Card(device(who), f"10.0.0.{who}", "", port)
    return registry.announce(card, EPOCH, revision, now, now + LEASE)


def publish(
    registry: Registry,
    who: int,
    base: int,
    revision: int,
    added: list[Entry],
    removed: list[Gone] | None = None,
    reset: bool = False,
    more: bool = False,
    epoch: bytes = EPOCH,
    now: float = 0.0,
) -> None:
    """Device `who` publishes one batch."""
    batch = Publish(0, epoch, base, revision, reset, more, added, removed or [])
    registry.publish(device(who), batch, now, now + LEASE)


def join(registry: Registry, who: int, *entries: Entry, now: float = 0.0) -> None:
    """Device `who` announces and publishes its whole list."""
    announce(registry, who, now)
    publish(registry, who, 0, len(entries), list(entries), reset=True, now=now)


def find(
    registry: Registry,
    text: str = "",
    by: By = By.TEXT,
    sort: Sort = Sort.RELEVANCE,
    ext: str = "",
    sizes: tuple[int, int] = (0, MAX_FILE),
    page: int = 200,
    now: float = 0.0,
) -> list[Hit]:
    """All hits, by following the cursor through pages of `page` hits."""
    hits: list[Hit] = []
    cursor = ""
    for _ in range(10_000):
        query = search.parse(Search(0, by, text, ext, *sizes, sort, page, cursor))
        found = registry.search(query, page, now)
        assert len(found.items) <= page
        hits += [hit for hit, _ in found.items]
        cursor = query.cursor(found.next)
        if not cursor:
            return hits
    raise AssertionError("the pages do not end")


def names(registry: Registry, text: str, by: By = By.TEXT, now: float = 0.0) -> list[str]:
    """The first name of each hit."""
    return [hit.names[0] for hit in find(registry, text, by, now=now)]


class RegistryContract:
    """Derive, and give the fixture `store`."""

    @pytest.fixture
    def registry(self, store: Open) -> Iterator[Registry]:
        registry = store()
        registry.resume(0.0, LEASE)
        yield registry
        registry.close()

    # -- devices and leases ---------------------------------------------------------------------------------

    def test_a_new_device_is_unknown_and_counted(self, registry: Registry) -> None:
        assert announce(registry, 1) == Share()
        assert announce(registry, 1) == Share()
        assert (registry.totals(0.0).devices, registry.totals(0.0).files) == (1, 0)

    def test_what_was_published_is_known_at_the_next_announce(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "a.txt"), entry(2, "b.txt"))
        assert announce(registry, 1) == Share(EPOCH, 2)
        assert registry.totals(0.0).files == 2

    def test_a_device_behind_what_is_known_lost_its_state(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "a.txt"), entry(2, "b.txt"))
        assert announce(registry, 1, revision=1) == Share()

    def test_everything_of_a_device_vanishes_with_its_lease(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha.txt"))
        late = LEASE - 1
        join(registry, 2, entry(2, "alpha.txt"), now=late)
        assert len(find(registry, "alpha", now=late)) == 2
        for by, text in (
            (By.TEXT, "alpha"),
            (By.NAME, "alpha.txt"),
            (By.ALL, ""),
            (By.TEXT, "al"),
        ):
            assert [hit.content_id[0] for hit in find(registry, text, by, now=LEASE)] == [2]
        assert find(registry, "01" * 32, By.ID, now=LEASE) == []
        assert find(registry, "fe" * 32, By.SHA256, now=LEASE) == []
        assert registry.holders(b"\x01" * 32, b"", 9, LEASE) == []
        assert [item.card.device_id for item in registry.members(b"", b"", 9, LEASE)] == [device(2)]
        assert registry.totals(LEASE).devices == registry.totals(LEASE).files == 1

    def test_publishing_renews_the_lease(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "a.txt"))
        publish(registry, 1, 1, 2, [entry(2, "b.txt")], now=50.0)
        assert registry.totals(LEASE + 49.0).devices == 1
        assert registry.totals(LEASE + 50.0).devices == 0

    def test_leaving_is_at_once(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha.txt"))
        registry.depart(device(1), 5.0)
        registry.depart(device(9), 5.0)
        assert find(registry, "alpha", now=5.0) == []
        with pytest.raises(OutOfStep):
            publish(registry, 1, 1, 2, [entry(2, "b.txt")], now=6.0)

    def test_who_comes_back_in_time_need_not_publish_again(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha.txt"))
        registry.depart(device(1), 5.0)
        assert registry.sweep(6.0, 4.0, 100) == 0
        assert announce(registry, 1, now=50.0) == Share(EPOCH, 1)
        assert names(registry, "alpha", now=50.0) == ["alpha.txt"]

    def test_a_restart_grants_one_lease_except_to_who_left(self, registry: Registry, store: Open) -> None:
        for who in (1, 2, 3):
            join(registry, who, entry(who, f"alpha {who}"))
        announce(registry, 1, now=1000.0)
        announce(registry, 3, now=1000.0)
        registry.depart(device(3), 1000.0)
        registry.sweep(1000.0, 0.0, 1)  # notices that the lease of 2 ended
        registry.close()
        again = store()
        again.resume(7.0, 7.0 + LEASE)  # another clock
        assert names(again, "alpha", now=8.0) == ["alpha 1"]
        assert names(again, "alpha", now=7.0 + LEASE) == []
        assert announce(again, 2, now=9.0) == Share(EPOCH, 1)
        again.close()

    def test_devices_are_bounded(self, registry: Registry) -> None:
        for who in range(6):
            announce(registry, who)
        with pytest.raises(RegistryFull):
            announce(registry, 6)
        assert announce(registry, 5) == Share()
        assert registry.totals(0.0).devices == 6

    # -- shares ---------------------------------------------------------------------------------------------

    def test_changes_are_added_and_removed(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha.txt"), entry(2, "beta.txt"))
        gone = [
            Gone(b"\x01" * 32, "alpha.txt"),
            Gone(b"\x01" * 32, "never was"),
            Gone(b"\x09" * 32, "beta.txt"),
        ]
        publish(registry, 1, 2, 5, [entry(3, "gamma.txt")], gone)
        assert sorted(names(registry, "txt")) == ["beta.txt", "gamma.txt"]
        assert announce(registry, 1) == Share(EPOCH, 5)
        assert registry.totals(0.0).files == 2

    def test_a_name_of_a_content_with_several_goes_alone(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha.txt"), entry(1, "beta.txt"))
        join(registry, 2, entry(1, "alpha.txt"))
        publish(registry, 1, 2, 3, [], [Gone(b"\x01" * 32, "alpha.txt")])
        assert (
            find(registry, "alpha")[0].sources == 2
        )  # still served under that name by 2, and by 1 under another
        publish(registry, 2, 1, 2, [], [Gone(b"\x01" * 32, "alpha.txt")])
        assert find(registry, "alpha") == []
        assert find(registry, "beta")[0].sources == 1

    def test_a_repeated_batch_is_accepted_and_changes_nothing(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha.txt"))
        for _ in range(2):
            publish(registry, 1, 1, 2, [entry(2, "alpha 2.txt")])
        assert len(find(registry, "alpha")) == 2
        assert registry.totals(0.0).files == 2
        assert announce(registry, 1) == Share(EPOCH, 2)

    @pytest.mark.parametrize(
        ("base", "revision", "epoch", "reset"),
        [
            (0, 4, EPOCH, False),
            (2, 4, EPOCH, False),
            (5, 6, EPOCH, False),
            (3, 4, OTHER_EPOCH, False),
            (3, 2, EPOCH, False),
            (3, 4, EPOCH, True),
        ],
    )
    def test_another_base_is_out_of_step(
        self, registry: Registry, base: int, revision: int, epoch: bytes, reset: bool
    ) -> None:
        join(registry, 1, *(entry(number, f"alpha {number}") for number in (1, 2, 3)))
        with pytest.raises(OutOfStep):
            publish(registry, 1, base, revision, [entry(4, "alpha 4")], epoch=epoch, reset=reset)
        assert len(find(registry, "alpha")) == 3
        assert announce(registry, 1) == Share(EPOCH, 3)

    def test_publishing_without_an_announce_is_out_of_step(self, registry: Registry) -> None:
        with pytest.raises(OutOfStep):
            publish(registry, 1, 0, 1, [entry(1, "alpha")], reset=True)
        announce(registry, 1)
        with pytest.raises(OutOfStep):
            publish(registry, 1, 0, 1, [entry(1, "alpha")], reset=True, now=LEASE)

    def test_a_listing_in_parts_keeps_the_old_one_until_its_end(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha 1"), entry(2, "alpha 2"))
        publish(registry, 1, 0, 5, [entry(2, "alpha 2")], reset=True, more=True, epoch=OTHER_EPOCH)
        assert names(registry, "alpha") == ["alpha 1", "alpha 2"]
        publish(registry, 1, 5, 6, [entry(3, "alpha 3")], reset=True, more=True, epoch=OTHER_EPOCH)
        assert names(registry, "alpha") == ["alpha 1", "alpha 2", "alpha 3"]
        publish(registry, 1, 6, 9, [entry(4, "alpha 4")], reset=True, epoch=OTHER_EPOCH)
        assert names(registry, "alpha") == ["alpha 2", "alpha 3", "alpha 4"]
        assert registry.totals(0.0).files == 3
        card = Card(device(1), "10.0.0.1", "", 8001)
        assert registry.announce(card, OTHER_EPOCH, 9, 0.0, LEASE) == Share(OTHER_EPOCH, 9)
        publish(registry, 1, 9, 10, [entry(1, "alpha 1")], epoch=OTHER_EPOCH)  # hidden, shown again
        assert len(find(registry, "alpha")) == registry.totals(0.0).files == 4
        assert [item.files for item in registry.members(b"\x01" * 32, b"", 9, 0.0)] == [4]

    def test_an_interrupted_listing_is_begun_again_and_leaves_nothing(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha 1"))
        publish(registry, 1, 0, 5, [entry(1, "alpha 1"), entry(2, "alpha 2")], reset=True, more=True)
        assert announce(registry, 1).epoch == bytes(8)
        with pytest.raises(OutOfStep):
            publish(registry, 1, 5, 6, [entry(3, "alpha 3")])  # no delta on half a listing
        publish(registry, 1, 0, 7, [entry(4, "alpha 4")], reset=True, more=True)
        assert "alpha 1" in names(registry, "alpha")
        with pytest.raises(OutOfStep):
            publish(registry, 1, 5, 6, [entry(3, "alpha 3")], reset=True)  # of the listing before
        publish(registry, 1, 7, 8, [entry(5, "alpha 5")], reset=True)
        assert names(registry, "alpha") == ["alpha 4", "alpha 5"]

    def test_parts_of_a_listing_may_be_repeated(self, registry: Registry) -> None:
        announce(registry, 1)
        publish(registry, 1, 0, 5, [entry(1, "alpha 1")], reset=True, more=True)
        for _ in range(2):
            publish(registry, 1, 5, 6, [entry(2, "alpha 2")], reset=True, more=True)
        for _ in range(2):
            publish(registry, 1, 6, 7, [entry(3, "alpha 3")], reset=True)
        assert names(registry, "alpha") == ["alpha 1", "alpha 2", "alpha 3"]
        assert registry.totals(0.0).files == 3

    def test_an_empty_listing_is_a_listing(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha 1"))
        publish(registry, 1, 0, 8, [], reset=True)
        assert find(registry, "alpha") == []
        assert announce(registry, 1) == Share(EPOCH, 8)

    def test_files_of_a_device_are_bounded(self, registry: Registry) -> None:
        join(registry, 1, *(entry(number, f"alpha {number}") for number in range(10)))
        with pytest.raises(DeviceFull):
            publish(registry, 1, 10, 11, [entry(10, "alpha 10")])
        assert len(find(registry, "alpha")) == 10
        publish(registry, 1, 10, 11, [entry(10, "alpha 10")], [Gone(b"\x00" * 32, "alpha 0")])
        with pytest.raises(DeviceFull):
            publish(registry, 1, 0, 99, [entry(number, f"beta {number}") for number in range(11)], reset=True)
        assert announce(registry, 1) == Share(EPOCH, 11)

    def test_files_are_bounded_and_room_comes_back(self, registry: Registry) -> None:
        for who in range(4):
            join(registry, who, *(entry(10 * who + number, f"alpha {who} {number}") for number in range(10)))
        announce(registry, 4)
        with pytest.raises(RegistryFull):
            publish(registry, 4, 0, 1, [entry(99, "beta")], reset=True)
        registry.depart(device(0), 1.0)
        while registry.sweep(2.0, 2.0, 3):
            pass
        publish(registry, 4, 0, 1, [entry(99, "beta")], reset=True)
        assert names(registry, "beta") == ["beta"]

    def test_a_device_that_replaces_its_list_again_and_again_stays_bounded(self, registry: Registry) -> None:
        announce(registry, 1)
        refused = 0
        for turn in range(20):
            entries = [entry(turn * 10 + number, f"alpha {turn} {number}") for number in range(10)]
            try:
                publish(registry, 1, 0, 1, entries, reset=True, more=True)
            except RegistryFull:
                refused += 1
                while registry.sweep(0.0, 0.0, 5):
                    pass
            assert len(find(registry, "alpha")) <= 40
        assert 0 < refused < 15

    # -- forgetting -----------------------------------------------------------------------------------------

    def test_absent_devices_are_forgotten_piece_by_piece(self, registry: Registry) -> None:
        join(registry, 1, *(entry(number, f"alpha {number}") for number in range(10)))
        join(registry, 2, entry(1, "alpha 1"), now=200.0)
        assert registry.sweep(200.0, 99.0, 4) == 0
        assert registry.sweep(200.0, 101.0, 4) == 4
        # it comes back while half of it is gone: it must publish everything again
        assert announce(registry, 1, now=200.0) == Share()
        publish(registry, 1, 0, 1, [entry(5, "alpha 5")], reset=True, now=200.0)
        assert sorted(names(registry, "alpha", now=200.0)) == ["alpha 1", "alpha 5"]
        while registry.sweep(400.0, 400.0, 4):
            pass
        assert registry.totals(0.0).devices == 0

    def test_a_live_device_is_never_forgotten(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha"))
        assert registry.sweep(LEASE - 1, 10 * LEASE, 100) == 0
        assert names(registry, "alpha") == ["alpha"]

    def test_closing_twice_is_fine(self, store: Open) -> None:
        registry = store()
        registry.close()
        registry.close()
