"""p2pd.net.admission: counts, rates, bans, and the bound on what is remembered."""

from __future__ import annotations

import threading

import pytest

from p2pd.net.addresses import parse_network
from p2pd.net.admission import Admission, AdmissionLimits, Bucket
from protocol import limits
from protocol.errors import Refusal

NOW = 1000.0
MINE = "127.0.0.1"


def connect(admission: Admission, address: str, now: float = NOW) -> bool:
    """A connection as a listener sees it: ZAP, then the monitor."""
    return bool(admission.allow_connection(address, now)) and bool(admission.opened(address, now))


def join(admission: Admission, address: str, now: float = NOW) -> None:
    assert admission.allow_hello(address, now)
    admission.proved(address, now)


def address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


# -- buckets ----------------------------------------------------------------------------------------------


def test_a_bucket_starts_full_and_refills() -> None:
    bucket = Bucket(rate=2.0, burst=3.0)
    for _ in range(3):
        assert bucket.wait(NOW) == 0.0
        bucket.take()
    assert bucket.wait(NOW) == pytest.approx(0.5)
    assert bucket.wait(NOW + 0.25) == pytest.approx(0.25)
    assert bucket.wait(NOW + 0.5) == 0.0
    bucket.take()
    assert bucket.wait(NOW + 1000) == 0.0
    assert bucket.tokens == 3.0


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    bucket = Bucket(rate=1.0, burst=1.0)
    assert bucket.wait(NOW) == 0.0
    bucket.take()
    assert bucket.wait(NOW - 500) == pytest.approx(1.0)
    assert bucket.wait(NOW) == pytest.approx(1.0)


# -- connections ------------------------------------------------------------------------------------------


def test_a_burst_from_one_machine_is_welcome_up_to_the_limit() -> None:
    admission = Admission()
    assert [connect(admission, MINE) for _ in range(17)] == [True] * 16 + [False]
    verdict = admission.allow_connection(MINE, NOW)
    assert not verdict
    assert verdict.code == Refusal.LIMIT
    assert verdict.retry_seconds > 0


def test_room_is_made_by_those_who_leave() -> None:
    admission = Admission()
    for _ in range(17):
        admission.opened(MINE, NOW)
    assert not admission.allow_connection(MINE, NOW)
    admission.released(MINE, authenticated=False)
    assert admission.allow_connection(MINE, NOW)


def test_strangers_together_are_bounded_and_members_still_get_in() -> None:
    admission = Admission()
    join(admission, MINE)
    let_in = sum(bool(admission.opened(address(number), NOW)) for number in range(100))
    assert let_in == limits.MAX_UNAUTHENTICATED
    assert connect(admission, MINE)


def test_connections_that_authenticate_make_room_for_strangers() -> None:
    admission = Admission()
    for number in range(limits.MAX_UNAUTHENTICATED):
        assert admission.opened(address(number), NOW)
    assert not admission.opened("192.168.0.1", NOW)
    admission.released("192.168.0.1", authenticated=False)
    admission.settled(address(0))
    assert admission.opened("192.168.0.1", NOW)
    assert admission.counts()["unauthenticated"] == limits.MAX_UNAUTHENTICATED


def test_the_total_is_bounded_for_members_too() -> None:
    admission = Admission()
    for number in range(3):
        join(admission, address(number))
    let_in = 0
    for number in range(300):
        let_in += bool(admission.opened(address(number % 3), NOW))
        admission.settled(address(number % 3))
    assert let_in == limits.MAX_CONNECTIONS


def test_a_member_address_may_hold_many_daemons() -> None:
    admission = Admission()
    join(admission, MINE)
    let_in = 0
    for _ in range(200):
        let_in += connect(admission, MINE)
        admission.settled(MINE)
    assert let_in == limits.MAX_CONNECTIONS_PER_KNOWN_IP


def test_accepts_have_a_rate_per_address_and_for_strangers_together() -> None:
    admission = Admission()
    assert sum(bool(admission.allow_connection(MINE, NOW)) for _ in range(50)) == limits.ACCEPT_BURST_PER_IP
    verdict = admission.allow_connection(MINE, NOW)
    assert verdict.retry_seconds == pytest.approx(1 / limits.ACCEPTS_PER_SECOND_PER_IP)
    assert admission.allow_connection(MINE, NOW + verdict.retry_seconds)
    others = sum(bool(admission.allow_connection(address(number), NOW)) for number in range(300))
    assert others == limits.ACCEPT_BURST - limits.ACCEPT_BURST_PER_IP - 1 + 10  # came back in 0.2 s


def test_a_flood_of_strangers_does_not_use_up_the_rate_of_members() -> None:
    admission = Admission()
    join(admission, MINE)
    for number in range(1000):
        admission.allow_connection(address(number), NOW)
    assert admission.allow_connection(MINE, NOW)


def test_releasing_more_than_was_opened_counts_nothing() -> None:
    admission = Admission()
    admission.released(MINE, authenticated=False)
    admission.settled(MINE)
    admission.abandoned(MINE)
    counts = admission.counts()
    assert (counts["connections"], counts["unauthenticated"], counts["half_open"]) == (0, 0, 0)


def test_both_forms_of_an_ipv4_address_and_a_whole_ipv6_prefix_count_as_one() -> None:
    admission = Admission(AdmissionLimits(per_address=1))
    assert admission.opened("10.0.0.1", NOW)
    assert not admission.opened("::ffff:10.0.0.1", NOW)
    assert admission.opened("2001:db8:0:1::1", NOW)
    assert not admission.opened("2001:db8:0:1:ffff::2", NOW)
    assert admission.opened("2001:db8:0:2::1", NOW)


# -- handshakes -------------------------------------------------------------------------------------------


def test_hellos_burst_then_rate_with_a_hint_that_is_true() -> None:
    admission = Admission()
    for _ in range(limits.HELLO_BURST):
        assert admission.allow_hello(MINE, NOW)
        admission.abandoned(MINE)
    verdict = admission.allow_hello(MINE, NOW)
    assert not verdict
    assert verdict.code == Refusal.BUSY
    assert not admission.allow_hello(MINE, NOW + verdict.retry_seconds * 0.9)
    assert admission.allow_hello(MINE, NOW + verdict.retry_seconds)


def test_strangers_cannot_hold_every_half_open_place() -> None:
    admission = Admission(AdmissionLimits(half_open=8, hello_burst=100))
    assert admission.allow_hello(MINE, NOW)
    admission.proved(MINE, NOW)
    stranger = "10.9.9.9"
    assert [bool(admission.allow_hello(stranger, NOW)) for _ in range(7)] == [True] * 6 + [False]
    assert [bool(admission.allow_hello(MINE, NOW)) for _ in range(3)] == [True, True, False]


def test_half_open_handshakes_are_bounded() -> None:
    admission = Admission(AdmissionLimits(half_open=3, hello_burst=100))
    assert [bool(admission.allow_hello(MINE, NOW)) for _ in range(4)] == [True, True, True, False]
    admission.abandoned(MINE)
    assert admission.allow_hello(MINE, NOW)
    admission.proved(MINE, NOW)
    admission.failed(MINE, NOW)
    admission.abandoned(MINE)
    assert admission.counts()["half_open"] == 0


def test_strangers_share_a_bucket_of_hellos_that_members_do_not_use() -> None:
    admission = Admission(AdmissionLimits(half_open=10_000))
    join(admission, MINE)
    answered = sum(bool(admission.allow_hello(address(number), NOW)) for number in range(200))
    assert answered == limits.UNKNOWN_HELLO_BURST - 1  # the member's first was a stranger's
    assert admission.allow_hello(MINE, NOW)


def test_a_member_address_is_a_stranger_again_after_some_days() -> None:
    admission = Admission()
    join(admission, MINE)
    for number in range(limits.UNKNOWN_HELLO_BURST):
        admission.allow_hello(address(number), NOW)
        admission.abandoned(address(number))
    assert admission.allow_hello(MINE, NOW)
    later = NOW + limits.KNOWN_GOOD_SECONDS + 1
    for number in range(limits.UNKNOWN_HELLO_BURST):
        admission.allow_hello(address(number), later)
        admission.abandoned(address(number))
    assert not admission.allow_hello(MINE, later)
    assert admission.counts()["known_addresses"] == 0


# -- guesses and bans -------------------------------------------------------------------------------------


def guess(admission: Admission, where: str, now: float) -> float:
    assert admission.allow_hello(where, now)
    return admission.failed(where, now)


def test_three_wrong_proofs_ban_for_a_minute_then_two_up_to_an_hour() -> None:
    admission = Admission()
    now, bans = NOW, []
    for _ in range(9):
        assert [guess(admission, "10.0.0.1", now) for _ in range(2)] == [0.0, 0.0]
        bans.append(guess(admission, "10.0.0.1", now))
        refused = admission.allow_hello("10.0.0.1", now)
        assert not refused
        assert refused.code == Refusal.BANNED
        assert refused.retry_seconds == pytest.approx(bans[-1])
        assert not admission.allow_hello("10.0.0.1", now + bans[-1] - 0.1)
        now += bans[-1]
    assert bans == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_slow_guesses_are_not_banned_but_cannot_be_fast() -> None:
    admission = Admission()
    assert all(guess(admission, "10.0.0.1", NOW + 20.0 * number) == 0.0 for number in range(50))


def test_a_day_without_a_ban_starts_anew() -> None:
    admission = Admission()
    for now in (NOW, NOW + 60):
        bans = [guess(admission, "10.0.0.1", now) for _ in range(3)]
    assert bans[-1] == 120
    later = NOW + 60 + 120 + limits.BAN_MEMORY_SECONDS + 1
    assert [guess(admission, "10.0.0.1", later) for _ in range(3)][-1] == 60


def test_success_forgets_the_failures() -> None:
    admission = Admission()
    guess(admission, MINE, NOW)
    guess(admission, MINE, NOW)
    join(admission, MINE)
    assert guess(admission, MINE, NOW) == 0.0
    assert admission.allow_hello(MINE, NOW)


def test_a_member_address_is_never_banned_but_held_to_the_rate() -> None:
    admission = Admission()
    join(admission, MINE)
    assert [guess(admission, MINE, NOW) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert admission.banned(MINE, NOW) == 0.0
    assert admission.allow_connection(MINE, NOW)
    verdict = admission.allow_hello(MINE, NOW)
    assert not verdict
    assert verdict.retry_seconds == pytest.approx(20.0)
    assert admission.allow_hello(MINE, NOW + 20.0)


def test_many_addresses_guess_no_faster_together() -> None:
    admission = Admission()
    guesses = 0
    for second in range(600):
        for number in range(20):
            where = address(second * 20 + number)
            if admission.allow_hello(where, NOW + second):
                admission.failed(where, NOW + second)
                guesses += 1
    assert guesses <= limits.UNKNOWN_FAILURE_BURST + 10 * limits.UNKNOWN_FAILURES_PER_MINUTE + 1


def test_networks_banned_by_hand_are_told_so_a_few_at_a_time() -> None:
    admission = Admission()
    admission.ban_only({parse_network("10.1.2.3/8"): float("inf"), parse_network("2001:db8::1"): 5.0}, NOW)
    assert admission.banned("10.200.0.1", NOW) == float("inf")
    assert admission.banned("::ffff:10.200.0.1", NOW) == float("inf")
    assert admission.banned("11.0.0.1", NOW) == 0.0
    assert admission.banned("2001:db8::1", NOW) == 5.0
    assert admission.banned("2001:db8::2", NOW) == 0.0
    assert admission.banned("", NOW) == 0.0
    refused = admission.allow_hello("10.200.0.1", NOW)
    assert (refused.allowed, refused.code, refused.retry_seconds) == (
        False,
        Refusal.BANNED,
        limits.BAN_TOLD_SECONDS,
    )
    assert admission.allow_hello("2001:db8::1", NOW).retry_seconds == 5.0
    told = [bool(admission.allow_connection(f"10.200.0.{n}", NOW)) for n in range(20)]
    assert told == [True] * limits.BANS_TOLD_BURST + [False] * (20 - limits.BANS_TOLD_BURST)
    assert admission.allow_connection("11.0.0.1", NOW)  # nobody else pays for it
    assert admission.allow_connection("10.200.0.99", NOW + 1)
    admission.ban_only({}, NOW)
    assert admission.allow_connection("10.200.0.1", NOW)
    assert admission.allow_hello("10.200.0.1", NOW)


def test_bans_by_failures_are_listed_and_forgiven() -> None:
    admission = Admission()
    for where in ("10.0.0.1", "2001:db8::1"):
        for _ in range(3):
            guess(admission, where, NOW)
    assert admission.bans(NOW) == [("10.0.0.1", 60.0), ("2001:db8::/64", 60.0)]
    told = [bool(admission.allow_connection("10.0.0.1", NOW)) for _ in range(20)]
    assert told == [True] * limits.BANS_TOLD_BURST + [False] * (20 - limits.BANS_TOLD_BURST)
    assert not admission.allow_hello("10.0.0.1", NOW)
    assert not admission.forgive(parse_network("10.0.0.2"))
    assert admission.forgive(parse_network("10.0.0.0/24"))
    assert admission.forgive(parse_network("2001:db8::1"))
    assert admission.bans(NOW) == []
    assert [guess(admission, "10.0.0.1", NOW) for _ in range(3)][-1] == 60
    assert admission.counts()["failed_proofs"] == 9


# -- bounds -----------------------------------------------------------------------------------------------


def test_what_is_remembered_is_bounded_and_the_connected_and_banned_are_kept() -> None:
    admission = Admission(AdmissionLimits(tracked=50))
    assert connect(admission, MINE)
    for _ in range(3):
        guess(admission, "192.168.0.1", NOW)
    for number in range(500):
        admission.allow_connection(address(number), NOW)
    assert admission.counts()["addresses"] == 50
    assert admission.banned("192.168.0.1", NOW) == 60.0
    for _ in range(15):
        admission.opened(MINE, NOW)
    assert not admission.opened(MINE, NOW)


def test_known_addresses_are_bounded() -> None:
    admission = Admission(AdmissionLimits(tracked=5, unknown_hello_burst=1000, half_open=1000))
    for number in range(50):
        admission.allow_hello(address(number), NOW)
        admission.proved(address(number), NOW)
    assert admission.counts()["known_addresses"] == 5


def test_threads_may_share_it() -> None:
    admission = Admission(AdmissionLimits(accept_burst=1e9, accept_burst_per_address=1e9, per_address=10**9))

    def churn(number: int) -> None:
        for turn in range(500):
            where = address(turn % 7)
            admission.allow_connection(where, NOW)
            admission.opened(where, NOW)
            if number % 2:
                admission.settled(where)
            admission.released(where, authenticated=bool(number % 2))
            admission.allow_hello(where, NOW)
            admission.abandoned(where)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = admission.counts()
    assert (counts["connections"], counts["unauthenticated"]) == (0, 0)


def test_a_listener_of_thousands_knows_all_its_members_apart_from_strangers() -> None:
    admission = Admission(AdmissionLimits.keeping(5000))
    members = [f"10.0.{number >> 8}.{number & 255}" for number in range(5000)]
    for address in members:
        admission.proved(address, 0.0)
    for number in range(4000):
        admission.allow_connection(f"2001:db8:{number:x}::1", 1.0)
    counts = admission.counts()
    assert counts["known_addresses"] == 5000
    assert counts["addresses"] == 9000
    assert AdmissionLimits.keeping(64).tracked == AdmissionLimits().tracked
