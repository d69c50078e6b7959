"""p2pd/net/identity.py: one value that does not change."""

from __future__ import annotations

import dataclasses

import pytest

from p2pd.net.keyring import Keyring
from tests.fakes.pair import make_device, make_secret
from tests.fakes.reactors import make_identity


def test_an_identity_holds_what_a_handshake_needs_and_cannot_be_changed() -> None:
    identity = make_identity("alice")
    assert identity.keys.current == make_secret()
    assert identity.device.device_id == make_device("alice").device_id
    assert len(identity.entropy(32)) == 32
    with pytest.raises(dataclasses.FrozenInstanceError):
        identity.keys = Keyring(make_secret(bytes(32)))  # type: ignore[misc]
