"""Stand-ins for one thread: a reactor that does nothing by itself, and a peer that answers when told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from p2pd.net.addresses import Endpoint
from p2pd.net.reactor import Timer
from protocol.frames import Feature
from protocol.limits import MAX_BLOCK
from tests.fakes.pair import make_device
from tests.fakes.reactors import HOST


class ManualReactor:
    """Stands in for a Reactor in one thread: `run` does what was called, `advance` fires timers."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.timers: list[Timer] = []
        self.works: list[Callable[[], bool]] = []
        self.lanes: list[Callable[[], None]] | None = None

    def clock(self) -> float:
        """Now."""
        return self.now

    def call(self, callback: Callable[..., object], *args: Any) -> None:
        """Kept for `run`."""
        self.calls.append((callback, args))

    def later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Kept for `advance`."""
        timer = Timer(self.now + delay, callback, args)
        self.timers.append(timer)
        return timer

    def add_work(self, work: Callable[[], bool]) -> None:
        """Kept for `run`."""
        if work not in self.works:
            self.works.append(work)

    def in_order(
        self, key: int, work: Callable[[], Any], then: Callable[[Any, BaseException | None], object]
    ) -> Future[None]:
        """Done at once, or when `lanes` is a list: kept there, to be done later."""
        future: Future[None] = Future()

        def run() -> None:
            try:
                result = work()
            except Exception as error:
                future.set_result(None)
                then(None, error)
            else:
                future.set_result(None)
                then(result, None)

        if self.lanes is None:
            run()
        else:
            self.lanes.append(run)
        return future

    def run(self) -> None:
        """Everything that was called, and all work."""
        while self.calls or self.works:
            while self.calls:
                callback, args = self.calls.pop(0)
                callback(*args)
            for work in list(self.works):
                if not work():
                    self.works.remove(work)

    def advance(self, seconds: float) -> None:
        """Fires the timers of the next `seconds` in their order."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.when <= end]:
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.fire()
            self.run()
        self.now = end
        self.run()


class FakePeer:
    """Stands in for peer.links.Peer: keeps what was asked, answers when told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.device_id = make_device(name).device_id
        self.endpoint = Endpoint(HOST, 8001)
        self.asked: list[tuple[Any, Callable[[Any, memoryview], object]]] = []
        self.detached: list[object] = []
        self.dropped: list[str] = []
        self.kept = 0
        self.withdrawn: list[object] = []
        self.pace = MAX_BLOCK
        self.ready = True
        self.features = int(Feature.CONTENTS)
        self.failures = 0
        self.lies = 0
        self.silence = 0.0

    def ask(self, message: Any, answer: Callable[[Any, memoryview], object], timeout: float = 30.0) -> None:
        """Kept for `answer`."""
        self.asked.append((message, answer))

    def keep(self) -> Callable[[], None]:
        """See Peer.keep."""
        self.kept += 1
        return self._release

    def _release(self) -> None:
        self.kept -= 1

    def block(self, asker: object) -> int:
        """See Peer.block."""
        return self.pace

    def ask_in_turn(self, asker: object, work: Callable[[], int], *, first: bool = False) -> None:
        """See Peer.ask_in_turn: its turn has always come."""
        work()

    def ask_block(self, message: Any, answer: Callable[[Any, memoryview], object]) -> None:
        """Kept for `answer`."""
        self.ask(message, answer)

    def reconsider(self) -> None:
        """See Peer.reconsider: nothing waits."""

    def withdraw(self, asker: object) -> None:
        """See Peer.withdraw."""
        self.withdrawn.append(asker)

    def detach(self, user: object) -> None:
        """See Peer.detach."""
        self.detached.append(user)

    def lied(self) -> None:
        """See Peer.lied."""
        self.lies += 1

    def drop(self, reason: str) -> None:
        """See Peer.drop."""
        self.dropped.append(reason)

    @property
    def messages(self) -> list[Any]:
        """What is asked and not answered."""
        return [message for message, _ in self.asked]

    def answer(self, reply: Any, payload: bytes = b"", index: int = 0) -> None:
        """Answers the oldest question, or the one at `index`."""
        _, answer = self.asked.pop(index)
        answer(reply, memoryview(payload))
