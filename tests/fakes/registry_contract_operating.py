"""The meaning of p2pd.tracker.registry.Registry, as tests that every implementation passes: bans, and what is forgotten by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from p2pd.net.bans import FOR_EVER, Ban
from p2pd.tracker.registry import Registry, RegistryFull, Share
from protocol.ids import device_text
from tests.fakes.registry_contract import LEASE, Open, announce, device, entry, find, join, names

SOMEBODY = device_text(device(1))


class OperatingContract:
    """Derive, and give the fixture `store` (see registry_contract.py)."""

    @pytest.fixture
    def registry(self, store: Open) -> Iterator[Registry]:
        registry = store()
        registry.resume(0.0, LEASE)
        yield registry
        registry.close()

    # -- bans -----------------------------------------------------------------------------------------------

    def test_bans_are_kept_over_a_restart(self, registry: Registry, store: Open) -> None:
        bans = [
            Ban("10.0.0.0/8", 500.5, "noise", 7.0),
            Ban("2001:db8::/32", FOR_EVER, "", 8.0),
            Ban(SOMEBODY, FOR_EVER, "wrong data ∅ 'quoted'", 9.25),
        ]
        for ban in reversed(bans):
            registry.ban(ban, 10.0)
        assert list(registry.bans(10.0)) == bans
        registry.close()
        again = store()
        assert list(again.bans(10.0)) == bans
        again.close()

    def test_whoever_shares_the_store_sees_a_ban(self, registry: Registry, store: Open) -> None:
        other = store()
        registry.ban(Ban("10.0.0.0/8"), 0.0)
        assert [ban.subject for ban in other.bans(0.0)] == ["10.0.0.0/8"]
        assert other.unban("10.0.0.0/8")
        assert list(registry.bans(0.0)) == []
        other.close()

    def test_a_ban_replaces_an_earlier_one(self, registry: Registry) -> None:
        registry.ban(Ban(SOMEBODY, FOR_EVER, "first", 1.0), 1.0)
        registry.ban(Ban(SOMEBODY, 50.0, "second", 2.0), 2.0)
        assert list(registry.bans(2.0)) == [Ban(SOMEBODY, 50.0, "second", 2.0)]

    def test_a_ban_that_is_over_is_gone(self, registry: Registry) -> None:
        registry.ban(Ban(SOMEBODY, 50.0), 0.0)
        assert len(registry.bans(49.9)) == 1
        assert list(registry.bans(50.0)) == []

    def test_a_ban_is_lifted_once(self, registry: Registry) -> None:
        registry.ban(Ban(SOMEBODY), 0.0)
        assert [registry.unban(SOMEBODY), registry.unban(SOMEBODY)] == [True, False]
        assert list(registry.bans(0.0)) == []

    def test_bans_are_bounded_and_room_comes_back(self, registry: Registry) -> None:
        for number in range(4):
            registry.ban(Ban(f"10.0.{number}.0/24", 100.0 + number), 0.0)
        with pytest.raises(RegistryFull):
            registry.ban(Ban("10.1.0.0/16"), 0.0)
        registry.ban(Ban("10.0.3.0/24", 200.0), 0.0)  # no new one
        registry.ban(Ban("10.1.0.0/16"), 100.0)  # one is over
        assert len(registry.bans(100.0)) == 4

    # -- forgetting -----------------------------------------------------------------------------------------

    def test_a_device_is_forgotten_piece_by_piece_and_hidden_at_once(self, registry: Registry) -> None:
        join(registry, 1, *(entry(number, f"alpha {number}") for number in range(1, 6)))
        join(registry, 2, entry(1, "alpha 1"))
        done = [registry.forget(device(1), 1.0, 2)]
        assert names(registry, "alpha", now=1.0) == ["alpha 1"]
        assert find(registry, "alpha", now=1.0)[0].sources == 1
        assert [item.card.device_id for item in registry.members(b"", b"", 9, 1.0)] == [device(2)]
        while done[-1]:
            done.append(registry.forget(device(1), 1.0, 2))
        assert all(0 < step <= 3 for step in done[:-1])
        assert (registry.totals(1.0).devices, registry.totals(1.0).files) == (1, 1)

    def test_a_forgotten_device_publishes_anew(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha 1"), entry(2, "alpha 2"))
        assert registry.forget(device(1), 0.0, 1)  # not yet all
        assert announce(registry, 1) == Share()
        while registry.forget(device(1), 0.0, 1):
            pass
        assert announce(registry, 1) == Share()
        join(registry, 1, entry(1, "alpha 1"), entry(2, "alpha 2"))
        assert len(find(registry, "alpha")) == 2

    def test_an_unknown_device_is_nothing_to_forget(self, registry: Registry) -> None:
        assert registry.forget(device(5), 0.0, 10) == 0

    def test_members_are_listed_with_the_end_of_their_lease(self, registry: Registry) -> None:
        announce(registry, 1, now=5.0)
        assert [item.lease for item in registry.members(b"", b"", 9, 6.0)] == [5.0 + LEASE]
