"""Calls the methods of the control API as the server does, in a swarm of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from p2pd.control.api import ControlApi
from p2pd.control.diagnosis import patient
from p2pd.control.doctor import Doctor
from p2pd.control.loglines import LogLines
from p2pd.control.operating import Operating
from p2pd.control.rotating import Rotating
from p2pd.control.status import Status
from p2pd.control.tuning import TuningMethods
from p2pd.net.keyring import Keyring
from p2pd.rotation import Rotation
from protocol.errors import Fault
from tests.fakes.supervised import make_supervision
from tests.fakes.swarm import SECRET, Member, Swarm, manifest_of, octets

DATA = octets(70_000)
MANIFEST = manifest_of(DATA)
ID = MANIFEST.content_id.hex()
SHA = MANIFEST.sha256.hex()


class Asker:
    """Calls methods as the server does."""

    def __init__(self, member: Member | None) -> None:
        self.stopped = asyncio.Event()
        self.events: list[Mapping[str, Any]] = []
        service = member.service if member else None
        keyring = member.keyring if member else Keyring(SECRET)
        own = {service.own_id} if service else {bytes(20)}
        status = Status(
            keyring=keyring, device_id=bytes(20), roles=[], home="/h", peer=service,
            peer_listen="", tracker_listen="", tracker_stats=None,
        )  # fmt: skip
        home = member.home if member else Path("/nowhere")

        def renew() -> None:
            if service is not None:
                service.renew()

        rotating = Rotating(Rotation(home, keyring, renew), own)
        events = service.events if service else None
        self.supervision = make_supervision(home)
        logs = LogLines(self.supervision.log.ring).logs
        more = {
            **rotating.methods,
            **Operating(service, None).methods,
            **TuningMethods(self.supervision).methods,
            **Doctor(patient(self.supervision.tuning.settings, keyring, service, None)).methods,
            "logs": logs,
        }
        self.api = ControlApi(status, service, self.stopped.set, events, more)

    async def __call__(self, method: str, **params: Any) -> Any:
        return await self.api.methods[method](params, self.progress)

    async def progress(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)

    async def fault(self, method: str, **params: Any) -> Fault:
        with pytest.raises(Fault) as caught:
            await self(method, **params)
        return caught.value


def run(directory: Path, work: Callable[[Asker, Asker, Member, Member], Awaitable[None]]) -> None:
    """Runs `work(ask alice, ask bob, alice, bob)`."""

    async def main() -> None:
        async with Swarm(directory) as swarm:
            alice, bob = await swarm.peer("alice"), await swarm.peer("bob")
            await work(Asker(alice), Asker(bob), alice, bob)

    asyncio.run(main())


def put(member: Member, name: str = "a.bin", data: bytes = DATA) -> str:
    path = member.files / name
    path.write_bytes(data)
    return str(path)
