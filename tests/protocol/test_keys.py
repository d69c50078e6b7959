"""Secrets: derivation, invites, passwords, device keys."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from protocol.errors import AuthenticationError, Fault, LocalProtocolError
from protocol.ids import device_text
from protocol.keys import (
    DeviceKey,
    NetworkSecret,
    check_password,
    derive_network_key,
    device_id_of,
    expand,
    extract,
    is_invite,
    lp,
    make_invite,
    verify_device,
)

ROUNDS = 100_000
INVITE = make_invite(bytes(range(16)))


# -- derivation -------------------------------------------------------------------------------------------


def test_network_key_is_pbkdf2_over_the_documented_salt() -> None:
    salted = b"\0\0\0\x0bp2pd/1 salt" + b"\0\0\0\x07example" + b"\x03"
    salt = hashlib.sha256(salted).digest()
    expected = hashlib.pbkdf2_hmac("sha256", b"correct horse", salt, ROUNDS, 32)
    assert derive_network_key("correct horse", "example", 3, ROUNDS) == expected


def test_everything_enters_the_network_key() -> None:
    keys = {
        derive_network_key("password", "net", 0, ROUNDS),
        derive_network_key("Password", "net", 0, ROUNDS),
        derive_network_key("password ", "net", 0, ROUNDS),
        derive_network_key("password", "Net", 0, ROUNDS),
        derive_network_key("password", "net", 1, ROUNDS),
        derive_network_key("password", "net", 0, ROUNDS + 1),
    }
    assert len(keys) == 6


def test_nfc_makes_equal_what_looks_equal() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert derive_network_key(composed, composed, 0, ROUNDS) == derive_network_key(
        decomposed, decomposed, 0, ROUNDS
    )


def test_an_invite_gives_one_key_however_it_is_typed() -> None:
    plain = derive_network_key(INVITE, "net", 0, ROUNDS)
    assert derive_network_key(f" {INVITE.upper()}\n", "net", 0, ROUNDS) == plain


@pytest.mark.parametrize(
    ("password", "network", "epoch", "rounds"),
    [
        ("password", "net", 0, ROUNDS - 1),
        ("password", "", 0, ROUNDS),
        ("password", "n" * 65, 0, ROUNDS),
        ("password", "net\n", 0, ROUNDS),
        ("password", "net\u202e", 0, ROUNDS),
        ("password", "net", -1, ROUNDS),
        ("password", "net", 256, ROUNDS),
        ("pass\ud800word", "net", 0, ROUNDS),
        (INVITE[:-1], "net", 0, ROUNDS),
    ],
)
def test_what_cannot_be_derived_is_a_usage_fault(
    password: str, network: str, epoch: int, rounds: int
) -> None:
    with pytest.raises(Fault) as raised:
        derive_network_key(password, network, epoch, rounds)
    assert raised.value.code == "usage"
    assert raised.value.hint


def test_length_prefixes_keep_lists_apart() -> None:
    assert lp(b"ab", b"c") == b"\0\0\0\2ab\0\0\0\1c"
    assert lp(b"ab", b"c") != lp(b"a", b"bc")


def test_hkdf_is_rfc_5869_with_sha512() -> None:
    root = hmac.digest(b"salt", b"secret", "sha512")
    assert extract(b"salt", b"secret") == root
    first = hmac.digest(root, b"label\x01", "sha512")
    assert expand(root, b"label", 64) == first
    assert expand(root, b"label") == first[:32]
    assert expand(root, b"label", 80) == first + hmac.digest(root, first + b"label\x02", "sha512")[:16]


# -- invites and passwords --------------------------------------------------------------------------------


def test_invite_looks() -> None:
    assert INVITE.startswith("p2p1-")
    assert len(INVITE) == 37
    assert INVITE.lower() == INVITE
    assert make_invite(bytes(16)) != INVITE


def test_invite_is_recognised_in_any_case() -> None:
    assert is_invite(INVITE)
    assert is_invite(INVITE.upper())
    assert is_invite(f"  {INVITE}\n")


def test_each_single_typing_error_in_an_invite_is_found() -> None:
    for at in range(5, len(INVITE)):
        for wrong in "a7":
            typo = INVITE[:at] + wrong + INVITE[at + 1 :]
            assert is_invite(typo) == (typo == INVITE)


@pytest.mark.parametrize(
    "text", ["", "p2p1-", "p2p1-aaaa", INVITE[:-1], INVITE + "a", INVITE[5:], "p2p1-" + "1" * 32, "p2p1-é"]
)
def test_what_is_no_invite(text: str) -> None:
    assert not is_invite(text)


def test_invite_needs_16_octets() -> None:
    with pytest.raises(LocalProtocolError):
        make_invite(bytes(15))


@pytest.mark.parametrize("text", [INVITE, INVITE.upper(), "twelve chars", "a much longer pass phrase"])
def test_good_passwords(text: str) -> None:
    check_password(text, allow_weak=False)


def test_a_short_password_needs_permission() -> None:
    with pytest.raises(Fault, match="fewer than 12"):
        check_password("eleven char", allow_weak=False)
    check_password("eleven char", allow_weak=True)


@pytest.mark.parametrize("allow_weak", [False, True])
def test_an_empty_password_is_never_good(allow_weak: bool) -> None:
    with pytest.raises(Fault, match="empty"):
        check_password("", allow_weak)


@pytest.mark.parametrize("allow_weak", [False, True])
@pytest.mark.parametrize("text", [INVITE[:-1], INVITE[:-1] + "!", "p2p1-", "P2P1-not an invite at all"])
def test_a_mistyped_invite_is_never_a_password(text: str, allow_weak: bool) -> None:
    with pytest.raises(Fault, match="checksum") as raised:
        check_password(text, allow_weak)
    assert raised.value.code == "usage"


# -- network secret ---------------------------------------------------------------------------------------


def test_tag_depends_on_name_and_epoch_and_never_on_the_key() -> None:
    one, other = NetworkSecret(bytes(32), "net", 0), NetworkSecret(bytes([1]) * 32, "net", 0)
    assert len(one.tag) == 8
    assert one.tag == other.tag
    assert len({one.tag, NetworkSecret(bytes(32), "net", 1).tag, NetworkSecret(bytes(32), "ne", 0).tag}) == 3


def test_check_value_depends_on_the_key() -> None:
    one, other = NetworkSecret(bytes(32), "net", 0), NetworkSecret(bytes([1]) * 32, "net", 0)
    assert one.check_value != other.check_value
    assert one.check_value.startswith("k-")
    assert len(one.check_value) == 10


def test_a_secret_is_checked_and_never_shown() -> None:
    secret = NetworkSecret(b"k" * 32, "net", 0)
    assert "kkkk" not in repr(secret)
    with pytest.raises(LocalProtocolError):
        NetworkSecret(b"k" * 31, "net", 0)
    with pytest.raises(Fault):
        NetworkSecret(b"k" * 32, "", 0)
    with pytest.raises(Fault):
        NetworkSecret(b"k" * 32, "net", 256)


# -- device key -------------------------------------------------------------------------------------------


def test_device_key_is_ed25519_of_rfc_8032() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = DeviceKey.from_seed(seed)
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")
    assert key.device_id == hashlib.sha256(key.public).digest()[:20] == device_id_of(key.public)
    assert key.seed == seed
    assert len(device_text(key.device_id)) == 32


def test_generate_takes_its_octets_from_the_caller() -> None:
    assert DeviceKey.generate(b"s" * 32).device_id == DeviceKey.from_seed(b"s" * 32).device_id
    with pytest.raises(LocalProtocolError):
        DeviceKey.generate(b"s" * 31)


def test_repr_has_no_seed() -> None:
    assert "73" * 8 not in repr(DeviceKey.from_seed(b"s" * 32))


def test_signatures() -> None:
    key = DeviceKey.from_seed(b"s" * 32)
    signature = key.sign(b"data")
    verify_device(key.public, signature, b"data")
    for public, signed, data in (
        (key.public, signature, b"date"),
        (key.public, signature[:-1] + bytes([signature[-1] ^ 1]), b"data"),
        (key.public, b"", b"data"),
        (DeviceKey.from_seed(b"t" * 32).public, signature, b"data"),
        (b"short", signature, b"data"),
    ):
        with pytest.raises(AuthenticationError):
            verify_device(public, signed, data)
