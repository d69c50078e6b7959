"""Who this daemon is in its swarm: all that a handshake needs."""

from __future__ import annotations

from dataclasses import dataclass

from p2pd.net.keyring import Keyring
from protocol.handshake import Info
from protocol.keys import DeviceKey
from protocol.pake import Entropy


@dataclass(frozen=True, slots=True)
class Identity:
    """Membership (`keys`), device key, what we tell about ourselves, and the source of randomness (os.urandom)."""

    keys: Keyring
    device: DeviceKey
    info: Info
    entropy: Entropy
