"""Bans in force: one way of writing each, devices and networks, ends."""

from __future__ import annotations

import pytest

from p2pd.net.bans import Ban, Bans, one_device, subject_of
from protocol.errors import Fault
from protocol.ids import device_text

ONE, TWO = b"\x01" * 20, b"\x02" * 20


@pytest.mark.parametrize(
    ("written", "subject"),
    [
        (device_text(ONE), device_text(ONE)),
        (device_text(ONE).upper(), device_text(ONE)),
        ("10.0.0.7", "10.0.0.7/32"),
        ("10.0.0.7/8", "10.0.0.0/8"),
        ("::ffff:10.0.0.7", "10.0.0.7/32"),
        ("2001:db8::1/32", "2001:db8::/32"),
    ],
)
def test_a_subject_is_written_in_one_way(written: str, subject: str) -> None:
    assert subject_of(written) == subject
    assert subject_of(subject) == subject


@pytest.mark.parametrize("text", ["", "somebody", "10.0.0", "10.0.0.0/33", "a" * 31, "host.example"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Fault) as caught:
        subject_of(text)
    assert caught.value.code == "usage"


def test_devices_and_networks_are_kept_out_until_the_end() -> None:
    bans = Bans()
    bans.replace([Ban(device_text(ONE), 10.0), Ban("10.0.0.0/8", 20.0)])
    assert bans.of(ONE, "192.0.2.1", 9.0) is not None
    assert bans.of(ONE, "192.0.2.1", 10.0) is None
    assert bans.of(TWO, "192.0.2.1", 9.0) is None
    assert bans.of(TWO, "", 9.0) is None
    both = bans.of(ONE, "10.1.2.3", 9.0)
    assert both is not None
    assert (both.subject, both.left(9.0)) == ("10.0.0.0/8", 11.0)
    assert [ban.subject for ban in bans.all(15.0)] == ["10.0.0.0/8"]
    assert [(str(network), left) for network, left in bans.networks(15.0).items()] == [("10.0.0.0/8", 5.0)]


def test_only_news_are_told() -> None:
    bans, told = Bans(), []
    bans.changed = lambda: told.append(1)
    assert bans.replace([Ban("10.0.0.0/8")])
    assert not bans.replace([Ban("10.0.0.0/8")])
    assert bans.replace([])
    assert len(told) == 2
    assert bans.of(ONE, "10.0.0.1", 0.0) is None


def test_one_device_is_meant_by_its_id_or_the_beginning_of_it() -> None:
    other = b"\x01" * 19 + b"\x02"
    text = device_text(ONE)
    assert one_device(text, []) == ONE
    assert one_device(text[:6].upper(), [TWO, ONE]) == ONE
    codes = []
    for words, found in (("ab", [ONE]), ("10.0.0.1", []), (text[:6], [TWO]), (text[:6], [ONE, other])):
        with pytest.raises(Fault) as caught:
            one_device(words, found)
        codes.append(caught.value.code)
        # `p2pctl peers` is refused by a daemon that is a tracker only
        assert caught.value.code == "ambiguous" or "p2pctl tracker peers" in caught.value.hint
    assert codes == ["usage", "usage", "not_found", "ambiguous"]
