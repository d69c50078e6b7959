"""The books of p2pd.net.admission agree with what happened, whatever order it happened in."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2pd.net.admission import Admission, AdmissionLimits
from protocol import limits

NOW = 1000.0


def address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


class Bookkeeping(RuleBasedStateMachine):
    """Any order of honest calls: the counts equal a simple model, nothing goes negative, memory is bounded."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.admission = Admission(AdmissionLimits(tracked=40))
        self.open: list[tuple[str, bool]] = []
        self.half_open: list[str] = []

    @rule(number=st.integers(0, 60))
    def open_one(self, number: int) -> None:
        self.admission.opened(address(number), self.now)
        self.open.append((address(number), False))

    @rule(pick=st.integers(0, 10**6))
    def settle_one(self, pick: int) -> None:
        strangers = [number for number, (_, settled) in enumerate(self.open) if not settled]
        if strangers:
            number = strangers[pick % len(strangers)]
            self.admission.settled(self.open[number][0])
            self.open[number] = (self.open[number][0], True)

    @rule(pick=st.integers(0, 10**6))
    def release_one(self, pick: int) -> None:
        if self.open:
            where, settled = self.open.pop(pick % len(self.open))
            self.admission.released(where, settled)

    @rule(number=st.integers(0, 60))
    def hello(self, number: int) -> None:
        if self.admission.allow_hello(address(number), self.now):
            self.half_open.append(address(number))

    @rule(pick=st.integers(0, 10**6), end=st.sampled_from(["proved", "failed", "abandoned"]))
    def finish(self, pick: int, end: str) -> None:
        if self.half_open:
            where = self.half_open.pop(pick % len(self.half_open))
            if end == "proved":
                self.admission.proved(where, self.now)
            elif end == "failed":
                assert 0.0 <= self.admission.failed(where, self.now) <= limits.BAN_SECONDS_MAX
            else:
                self.admission.abandoned(where)

    @rule(seconds=st.floats(0, 4000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def counts_agree(self) -> None:
        counts = self.admission.counts()
        assert counts["connections"] == len(self.open)
        assert counts["unauthenticated"] == sum(not settled for _, settled in self.open)
        assert counts["half_open"] == len(self.half_open) <= limits.MAX_HALF_OPEN
        assert counts["addresses"] <= 40
        assert counts["known_addresses"] <= 40


TestBookkeeping = Bookkeeping.TestCase
TestBookkeeping.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
