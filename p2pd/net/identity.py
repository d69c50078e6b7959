"""Who this daemon is in its swarm: all that a handshake needs."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.handshake import Info
from protocol.keys import DeviceKey, NetworkSecret
from protocol.pake import Entropy


@dataclass(frozen=True, slots=True)
class Identity:
    """Membership (`secret`), device key, what we tell about ourselves, and the source of randomness (os.urandom)."""

    secret: NetworkSecret
    device: DeviceKey
    info: Info
    entropy: Entropy
