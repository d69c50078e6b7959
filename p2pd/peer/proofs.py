"""What one tracker last said of our key, and so what its silence means. On the event loop.

The rule: a tracker that has banned us for a wrong password, or takes no more tries for now, does not say so of the password again; whoever
starts the daemon anew must be told all the same. So a refused proof is kept (storage/state_refused.py) until this tracker takes a key, the
key is another one, or a day has passed, longer than any ban for it lasts. Keeps no key, only its check value.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from p2pd.net.addresses import Endpoint
from p2pd.net.dealer import Lost
from p2pd.net.keyring import Keyring
from p2pd.peer.trackerfaults import judge
from p2pd.storage.state_refused import RefusedKeys
from protocol.errors import Fault, Refusal

KEPT_SECONDS = 86_400.0


class Proofs:
    """See the module. `clock` gives Unix seconds."""

    def __init__(
        self, store: RefusedKeys, keys: Keyring, endpoint: Endpoint, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._keys = keys
        self._endpoint = endpoint
        self._clock = clock

    def lost(self, lost: Lost) -> tuple[str, Fault]:
        """The state of a tracker whose link ended so, and what a person is told (trackerfaults.py)."""
        where, check, now = str(self._endpoint), self._keys.current.check_value, self._clock()
        if lost.code == "auth":
            self._store.put_refused_key(where, check, now)
        unheard = lost.code == "refused" or lost.refusal == Refusal.BUSY
        return judge(
            self._endpoint, lost, unheard and self._store.key_refused(where, check, now - KEPT_SECONDS)
        )

    def taken(self) -> None:
        """The tracker takes our key."""
        self._store.drop_refused_key(str(self._endpoint))
