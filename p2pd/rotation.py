"""A change of the network key: begun, watched, ended by time or by hand, taken back. On the event loop.

The rule: what is on the disk comes first. A step is stored whole (secrets.store_ring) before it holds in memory, so that a kill
at any moment leaves the state before it or after it. The new key never travels: each member is given the new secret by
a person, for whoever holds the old one could read what is sent under it. Knows no sockets and no roles.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from p2pd.net.keyring import Keyring, Ring, Sighting
from p2pd.secrets import NETWORK_FILE, load_document, store_document, store_ring
from protocol.errors import Fault, RemoteProtocolError
from protocol.keys import NetworkSecret, check_password, derive_network_key, make_invite
from protocol.limits import MIB, ROTATION_SECONDS, ROTATION_SECONDS_MAX

log = logging.getLogger("p2pd.rotation")

SEEN_FILE = "rotation.seen"
MAX_SEEN = 8 * MIB  # octets: all devices and addresses that a keyring remembers
LOOK_SECONDS = 1.0  # how late an end by time may be noticed
SAVE_SECONDS = 60.0  # how much of "when" a kill may lose; of "who" it is LOOK_SECONDS
LAST_EPOCH = 255


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks of `begin`. `password` None: an invite is made. `epoch` None: the next one."""

    password: str | None
    overlap: float = ROTATION_SECONDS
    epoch: int | None = None
    allow_weak: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """How it stands. `changed`: the step that was asked for was taken now. `invite`: the new secret, told this once."""

    ring: Ring
    seen: list[Sighting]
    changed: bool = False
    invite: str | None = None


class Rotation:
    """See the module. `on_change` is called after each step that changed the keys."""

    def __init__(
        self,
        home: Path,
        keyring: Keyring,
        on_change: Callable[[], object],
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._home = home
        self._keyring = keyring
        self._on_change = on_change
        self._entropy = entropy
        self._step = asyncio.Lock()
        self._saved = (0, 0.0)  # news and time of the last save

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Before anybody connects: ends what was due while the daemon was down, and remembers who was seen. Raises Fault storage."""
        for left in self._home.glob(f".{NETWORK_FILE}.*"):  # by a kill, with keys in it
            with suppress(OSError):
                left.unlink()
        ring = self._keyring.ring
        if ring.previous is not None and self._keyring.now() >= ring.ends_at:
            self._take(ring.finished())
            log.info("= the older key, of epoch %d, ended while the daemon was down", ring.previous.epoch)
        if self._keyring.ring.previous is None:
            self._forget()
            return
        try:
            document = load_document(self._home / SEEN_FILE, MAX_SEEN)
            if document is not None:
                self._keyring.load(document)
        except (Fault, ValueError, KeyError, TypeError, AttributeError, RemoteProtocolError) as error:
            log.warning("! who was seen in this rotation is not known any more: %s", error)
        self._saved = (self._keyring.news, self._keyring.now())

    async def run(self) -> None:
        """Ends the older key when its time has come, and saves who was seen; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                async with self._step:
                    await self._look()
            except Fault as fault:  # the disk may have room again later; the older key is not taken any more all the same
                log.error("! rotation: %s", fault.message)

    async def _look(self) -> None:
        ring, now = self._keyring.ring, self._keyring.now()
        if ring.previous is None:
            return
        if now >= ring.ends_at:
            await asyncio.to_thread(self._take, ring.finished())
            self._changed(f"the older key, of epoch {ring.previous.epoch}, has ended")
            return
        news, at = self._saved
        if self._keyring.news != news or now - at >= SAVE_SECONDS:
            self._saved = (self._keyring.news, now)
            await asyncio.to_thread(store_document, self._home / SEEN_FILE, self._keyring.dump())

    # -- the steps ----------------------------------------------------------------------------------------

    def report(self) -> Report:
        """How it stands."""
        return Report(self._keyring.ring, self._keyring.sightings())

    async def begin(self, wish: Wish) -> Report:
        """A new key comes first from now on, the one until now stays good for `overlap` seconds (0: ends at once).

        The same wish again changes nothing. Raises Fault usage (too weak, the secret in use, a bad epoch or overlap), refused
        (another rotation is under way, or the epochs are used up), storage.
        """
        if not 0 <= wish.overlap <= ROTATION_SECONDS_MAX:
            raise Fault("usage", f"an overlap is at most {ROTATION_SECONDS_MAX // 86_400} days")
        invite = make_invite(self._entropy(16)) if wish.password is None else None
        password = invite or wish.password or ""
        check_password(password, wish.allow_weak)
        async with self._step:
            ring = self._keyring.ring
            derived = await asyncio.to_thread(self._derive, password, ring.current)
            if ring.previous is not None:
                if derived == ring.current:
                    return self.report()
                raise Fault(
                    "refused",
                    f"a rotation to epoch {ring.current.epoch} is under way",
                    "end it with p2pctl rotate --finish, or take it back with p2pctl rotate --abort",
                )
            if derived == ring.current:
                raise Fault("usage", "this is the secret in use: nothing would change", "choose another one")
            epoch = _next_epoch(ring.current, wish.epoch)
            new = await asyncio.to_thread(self._derive, password, ring.current, epoch)
            await asyncio.to_thread(self._take, ring.rotated(new, self._keyring.now(), wish.overlap))
            self._saved = (0, 0.0)
            self._changed(f"a rotation has begun: epoch {epoch}, key check {new.check_value}")
            return Report(self._keyring.ring, [], True, invite)

    async def finish(self) -> Report:
        """The older key ends now. Nothing changes without a rotation. Raises Fault storage."""
        return await self._end(Ring.finished, "the rotation was finished by hand")

    async def abort(self) -> Report:
        """The newer key is given up. Nothing changes without a rotation. Raises Fault storage."""
        return await self._end(Ring.aborted, "the rotation was taken back")

    async def _end(self, step: Callable[[Ring], Ring], words: str) -> Report:
        async with self._step:
            before = self.report()
            if before.ring.previous is None:
                return before
            await asyncio.to_thread(self._take, step(before.ring))
            self._changed(words)
            return Report(self._keyring.ring, before.seen, True)

    # -- inside -------------------------------------------------------------------------------------------

    def _derive(self, password: str, like: NetworkSecret, epoch: int | None = None) -> NetworkSecret:
        number = like.epoch if epoch is None else epoch
        return NetworkSecret(derive_network_key(password, like.network, number), like.network, number)

    def _take(self, ring: Ring) -> None:
        """The one way to another state: the disk, then memory."""
        store_ring(self._home, ring)
        self._keyring.set(ring)
        if ring.previous is None:
            self._forget()

    def _forget(self) -> None:
        with suppress(OSError):
            (self._home / SEEN_FILE).unlink(missing_ok=True)

    def _changed(self, words: str) -> None:
        log.info("= %s", words)
        self._on_change()


def _next_epoch(current: NetworkSecret, wanted: int | None) -> int:
    epoch = current.epoch + 1 if wanted is None else wanted
    if current.epoch >= LAST_EPOCH:
        raise Fault("refused", "the epochs of this network are used up", "begin a network with another name")
    if not current.epoch < epoch <= LAST_EPOCH:
        raise Fault(
            "usage",
            f"the next epoch is {current.epoch + 1} to {LAST_EPOCH}, not {epoch}",
            "leave --epoch out",
        )
    return epoch
