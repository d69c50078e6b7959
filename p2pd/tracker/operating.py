"""What the operator of a tracker can see and do: its figures, devices and files, forgetting and bans. On the event loop.

The rule: the registry belongs to the tracker's reactor, so each step runs there by `run`, and none takes longer than a request does:
long lists and long work go in pieces. Knows nothing of the control socket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from p2pd.net.addresses import parse_network
from p2pd.net.bans import Ban, as_device, one_device
from p2pd.tracker import search
from p2pd.tracker.registry import Listing, Registry, RegistryError, RegistryFull
from p2pd.tracker.server import TrackerServer
from p2pd.tracker.service import SWEEP_ENTRIES, TrackerService
from protocol.errors import Fault
from protocol.ids import before_prefix, device_text
from protocol.tracker import By, Hit, Search

T = TypeVar("T")
SAME_PREFIX = 20  # devices that a short prefix is said to mean


class Run(Protocol):
    """Runs `work` on the tracker's reactor."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]: ...


class Operator:
    """See the module. Every method raises Fault storage when the registry fails."""

    def __init__(self, run: Run, service: TrackerService, registry: Registry, server: TrackerServer) -> None:
        self._run = run
        self._service = service
        self._registry = registry
        self._server = server

    # -- looking ------------------------------------------------------------------------------------------

    async def figures(self) -> dict[str, Any]:
        """Devices and files now, bans, sessions and octets, requests and refusals since the start."""
        return await self._do(self._server.figures)

    async def peers(self, cursor: str, limit: int) -> tuple[Sequence[Listing], str]:
        """A page of devices with a lease, by device id, and the cursor of the next. Raises Fault usage for a bad cursor."""
        after = _device_cursor(cursor)
        found = await self._do(lambda: self._registry.members(b"", after, limit + 1, self._server.now()))
        page = found[:limit]
        return page, page[-1].card.device_id.hex() if len(found) > limit else ""

    async def files(self, text: str, cursor: str, limit: int) -> tuple[list[Hit], str]:
        """A page of what is listed, by name, or of what matches `text`. Raises Fault usage."""
        message = Search(0, By.TEXT if text else By.ALL, text, cursor=cursor)
        try:
            query = search.parse(message)
            page = await self._do(lambda: self._registry.search(query, limit, self._server.now()))
        except search.BadQuery as error:
            raise Fault("usage", f"the tracker cannot look for that: {error}") from error
        return [hit for hit, _ in page.items], query.cursor(page.next)

    # -- forgetting ---------------------------------------------------------------------------------------

    async def expire(self, device: str) -> tuple[bytes, int]:
        """Forgets one device, there or not, or ("") all that are absent, without waiting for their time to be over.

        The device (b"": none was named), and how many devices and entries went. Raises Fault not_found and ambiguous.
        """
        if not device:
            return b"", await self._until_done(lambda now: self._registry.sweep(now, now, SWEEP_ENTRIES))
        device_id = await self.device(device)
        forgotten = await self._until_done(lambda now: self._registry.forget(device_id, now, SWEEP_ENTRIES))
        if not forgotten:
            raise Fault(
                "not_found", f"this tracker knows no device {device}", "p2pctl tracker peers lists them"
            )
        return device_id, forgotten

    async def _until_done(self, step: Callable[[float], int]) -> int:
        total = 0
        while done := await self._do(lambda: step(self._server.now())):
            total += done
        return total

    # -- bans ---------------------------------------------------------------------------------------------

    async def ban(self, ban: Ban) -> None:
        """Keeps it, and ends the sessions of whoever it covers. Raises Fault refused when there are too many."""

        def work() -> None:
            now = self._server.now()
            self._registry.ban(ban, now)
            self._service.read_bans(now)

        try:
            await self._do(work)
        except RegistryFull as error:
            raise Fault("refused", str(error), "ban a network instead of its devices") from error

    async def unban(self, subject: str) -> bool:
        """Lifts it. False when there was none."""

        def work() -> bool:
            found = self._registry.unban(subject)
            if as_device(subject) is None:
                found |= self._server.forgive(parse_network(subject))
            self._service.read_bans(self._server.now())
            return found

        return await self._do(work)

    async def bans(self) -> list[tuple[Ban, str]]:
        """Those in force, each with its cause: "hand" or "wrong_password"."""

        def work() -> list[tuple[Ban, str]]:
            now = self._server.now()
            return [(ban, "hand") for ban in self._registry.bans(now)] + [
                (Ban(str(parse_network(address)), now + left, "guessed passwords", now), "wrong_password")
                for address, left in self._server.guessers()
            ]

        return await self._do(work)

    # -- devices ------------------------------------------------------------------------------------------

    async def matching(self, prefix: str) -> list[bytes]:
        """Devices with a lease whose id begins so, the first few."""
        after = before_prefix(prefix)
        if after is None:
            return []
        found = await self._do(lambda: self._registry.members(b"", after, SAME_PREFIX, self._server.now()))
        ids = [listing.card.device_id for listing in found]
        return [device_id for device_id in ids if device_text(device_id).startswith(prefix.lower())]

    async def device(self, text: str) -> bytes:
        """The device that an id or the beginning of one means. Raises Fault not_found, ambiguous."""
        return one_device(text, await self.matching(text))

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await self._run(work)
        except RegistryError as error:
            raise Fault("storage", f"the tracker's registry failed: {error}") from error


def _device_cursor(cursor: str) -> bytes:
    try:
        return bytes.fromhex(cursor)
    except ValueError as error:
        raise Fault("usage", "bad cursor", "take it from `next` of the page before") from error
