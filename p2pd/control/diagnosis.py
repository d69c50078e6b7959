"""What a check of the daemon is, and how all of them are run: each by itself, for a bounded time, whatever becomes of the others.

The rule: a check says what it found in one line and what to do about it, changes nothing, and has an id that stays. A new one is a
function and a row of the table in doctor.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from p2pd.config import Settings
from p2pd.net.addresses import Endpoint
from p2pd.net.keyring import Keyring
from p2pd.net.router import SealedRouter
from p2pd.peer.service import PeerService
from protocol.display import safe
from protocol.errors import Fault

log = logging.getLogger("p2pd.doctor")

OK, WARN, FAIL = "ok", "warn", "fail"
CHECK_SECONDS = 12.0  # one check; a dial back takes five


class Finding(NamedTuple):
    """What one check says: OK, WARN or FAIL, one line without a final period, and what to do."""

    status: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What checks may look at. `settings`: those of the start. `peer`: None in a pure tracker. `listening`: role -> where its listener
    is bound ("" is every interface).
    """

    settings: Settings
    keyring: Keyring
    peer: PeerService | None
    listening: dict[str, Endpoint] = field(default_factory=dict)


def patient(
    settings: Settings, keyring: Keyring, peer: PeerService | None, tracker: SealedRouter | None
) -> Patient:
    """Of a daemon whose listeners are bound; a role that it has not is None."""
    roles = (
        ("tracker", settings.tracker_listen, tracker),
        ("peer", settings.peer_listen, peer.router if peer is not None else None),
    )
    bound = {
        role: Endpoint(listen.host, router.port)
        for role, listen, router in roles
        if listen is not None and router is not None
    }
    return Patient(settings, keyring, peer, bound)


Look = Callable[[Patient], Awaitable[list[Finding]]]


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table. `peers_only`: makes no sense in a pure tracker. No finding: nothing to say."""

    id: str
    look: Look
    peers_only: bool = False


async def examine(checks: Sequence[Check], patient: Patient) -> list[tuple[str, Finding]]:
    """(id of the check, finding), in the order of the table. Raises nothing."""
    wanted = [check for check in checks if patient.peer is not None or not check.peers_only]
    found = await asyncio.gather(*(_look(check, patient) for check in wanted))
    return [
        (check.id, finding) for check, findings in zip(wanted, found, strict=True) for finding in findings
    ]


async def _look(check: Check, patient: Patient) -> list[Finding]:
    try:
        return await asyncio.wait_for(check.look(patient), CHECK_SECONDS)
    except TimeoutError:
        return [Finding(WARN, f"could not be found out within {CHECK_SECONDS:.0f} s", "try again")]
    except Fault as fault:
        return [Finding(WARN, f"could not be found out: {fault.message}", fault.hint)]
    except Exception as error:  # one check that fails must not keep the others from a person in trouble
        log.exception("! the check %s failed", check.id)
        return [Finding(WARN, f"could not be found out: {safe(str(error))}", "the daemon's log says more")]
