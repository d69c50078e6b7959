"""Checks of a peer's place in its swarm: trackers, their keys and clocks, announcements, and whether others reach it. See diagnosis.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from p2pd.control.diagnosis import FAIL, OK, WARN, Finding, Patient
from p2pd.control.items import timestamp
from p2pd.net.addresses import format_endpoint, is_loopback
from p2pd.peer.trackers import TrackerClient
from protocol.checks import Clock, ClockIs, Reach, Reachable, Reached
from protocol.errors import Fault
from protocol.frames import Feature
from protocol.limits import ANNOUNCE_LIFETIME, ANNOUNCE_REFRESH, REACH_SECONDS

ASK_SECONDS = 5.0
CLOCK_WARN_SECONDS = 60.0
CLOCK_FAIL_SECONDS = 3600.0
OLDER = "the tracker at {} is older and cannot be asked"


def trackers(patient: Patient) -> list[TrackerClient]:
    """Those of the peer."""
    return [] if patient.peer is None else list(patient.peer.trackers)


async def reachable_trackers(patient: Patient) -> list[Finding]:
    """Each tracker is connected and answers."""
    return list(await asyncio.gather(*(_answers(tracker) for tracker in trackers(patient))))


async def _answers(tracker: TrackerClient) -> Finding:
    if tracker.state == "connected":
        if tracker.features & Feature.CHECKS:
            try:
                await _clock(tracker)
            except Fault as fault:  # it hangs: the end of its connection comes later
                if fault.code != "refused":
                    return Finding(FAIL, fault.message, "is its p2pd, or its machine, stopped or overloaded?")
        return Finding(OK, f"connected to the tracker at {tracker.endpoint}")
    if tracker.state == "wrong_password":
        return Finding(OK, f"the tracker at {tracker.endpoint} answers")
    if tracker.error is not None:
        return Finding(FAIL, tracker.error.message, tracker.error.hint)
    return Finding(WARN, f"not connected yet to the tracker at {tracker.endpoint}", "try again in a moment")


async def same_key(patient: Patient) -> list[Finding]:
    """The key is that of each tracker, and the newest there is."""
    return [finding for tracker in trackers(patient) for finding in await _same_key(patient, tracker)]


async def _same_key(patient: Patient, tracker: TrackerClient) -> list[Finding]:
    if tracker.state == "wrong_password" and tracker.error is not None:
        return [Finding(FAIL, tracker.error.message, tracker.error.hint)]
    if not tracker.connected:
        return []
    good = Finding(OK, f"the key matches that of the tracker at {tracker.endpoint}")
    if not tracker.features & Feature.CHECKS:
        return [good]
    reply, _ = await _clock(tracker)
    if reply.epoch > patient.keyring.current.epoch:
        where = f"at the tracker {tracker.endpoint} (epoch {reply.epoch})"
        until = f" and is good until {timestamp(reply.older_until)}" if reply.older_until else ""
        return [
            Finding(
                WARN,
                f"the password was replaced {where}: that of this device is the old one{until}",
                "get the new one from whoever runs the swarm, then p2pctl rotate",
            )
        ]
    return [good]


async def clock(patient: Patient) -> list[Finding]:
    """The clocks of this machine and of each tracker agree."""
    return await _of_each(patient, _skew)


async def _skew(tracker: TrackerClient) -> Finding:
    reply, middle = await _clock(tracker)
    skew = middle - reply.time_ms / 1000
    message = f"the clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the tracker's at {tracker.endpoint}"
    hint = (
        "set the clock, best with NTP; times shown by others, and the end of a password's rotation, go by it"
    )
    if abs(skew) > CLOCK_FAIL_SECONDS:
        return Finding(FAIL, message, hint)
    if abs(skew) > CLOCK_WARN_SECONDS:
        return Finding(WARN, message, hint)
    return Finding(OK, message)


async def _clock(tracker: TrackerClient) -> tuple[ClockIs, float]:
    """What the tracker says, and our own time in the middle of the question. Raises Fault."""
    before = time.time()
    reply = await tracker.request(Clock(0), ASK_SECONDS, 0.0)
    if not isinstance(reply, ClockIs):
        raise Fault("network", f"the tracker at {tracker.endpoint} gave another answer than was asked for")
    return reply, (before + time.time()) / 2


async def announced(patient: Patient) -> list[Finding]:
    """The trackers hear of this device often enough."""
    found, now = [], asyncio.get_running_loop().time()
    for tracker in trackers(patient):
        if not tracker.connected or tracker.announced_at is None:
            continue
        age = now - tracker.announced_at
        message = f"announced {age:.0f} s ago at {tracker.endpoint}"
        if age > ANNOUNCE_LIFETIME:
            found.append(Finding(FAIL, f"{message}: it takes this device for gone", "restart p2pd"))
        elif age > 2 * ANNOUNCE_REFRESH:
            found.append(Finding(WARN, f"{message}, which is long", "p2pctl status shows what it waits for"))
        else:
            found.append(Finding(OK, message))
    return found


async def reachable(patient: Patient) -> list[Finding]:
    """Others reach this device at the address that trackers give them: each tracker dials it."""
    return await _of_each(patient, _reached)


async def _reached(tracker: TrackerClient) -> Finding:
    reply = await tracker.request(Reach(0), REACH_SECONDS + 2, 0.0)
    if not isinstance(reply, Reached):
        raise Fault("network", f"the tracker at {tracker.endpoint} gave another answer than was asked for")
    where = format_endpoint(reply.host, reply.port)
    if reply.result is Reachable.YES:
        if is_loopback(reply.host):
            return Finding(
                OK, f"the tracker on this machine reaches this device at {where}; others were not tried"
            )
        return Finding(OK, f"the tracker at {tracker.endpoint} reaches this device at {where}")
    if reply.result is Reachable.NOWHERE:
        return Finding(
            FAIL,
            f"the tracker at {tracker.endpoint} has no address to give to others",
            "let p2pd listen (--listen PORT), and name the address with --announce HOST:PORT",
        )
    if reply.result is Reachable.OTHER:
        return Finding(
            FAIL,
            f"something else than this device answers at {where}",
            "the port is forwarded to another machine, or taken: check the forward, or --announce HOST:PORT",
        )
    return Finding(
        FAIL,
        f"nobody answers at {where}, where others look for this device",
        "let the port through the firewall, forward it at the router, or name the right one with --announce HOST:PORT",
    )


async def _of_each(patient: Patient, ask: Callable[[TrackerClient], Awaitable[Finding]]) -> list[Finding]:
    """What each connected tracker answers; one that cannot says so."""

    async def one(tracker: TrackerClient) -> Finding:
        if not tracker.features & Feature.CHECKS:
            return Finding(WARN, OLDER.format(tracker.endpoint), "upgrade it")
        try:
            return await ask(tracker)
        except Fault as fault:
            return Finding(WARN, f"could not be found out: {fault.message}", fault.hint)

    return list(await asyncio.gather(*(one(tracker) for tracker in trackers(patient) if tracker.connected)))
