"""The pure part of the registry: what a batch is to a share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.tracker.registry import OutOfStep, Share, Step, next_step
from protocol.tracker import NO_EPOCH, Publish

A, B = b"epoch--a", b"epoch--b"


def batch(epoch: bytes, base: int, revision: int, reset: bool = False, more: bool = False) -> Publish:
    return Publish(0, epoch, base, revision, reset, more, [], [])


KNOWN = Share(A, 7)
STAGED = Share(stage_epoch=A, stage_revision=3)


@pytest.mark.parametrize(
    ("share", "message", "step", "after"),
    [
        (Share(), batch(A, 0, 0, reset=True), Step.BEGIN, Share(A, 0)),
        (Share(), batch(A, 0, 3, reset=True, more=True), Step.BEGIN, STAGED),
        (KNOWN, batch(A, 0, 7, reset=True), Step.BEGIN, KNOWN),
        (KNOWN, batch(B, 0, 3, reset=True, more=True), Step.BEGIN, Share(stage_epoch=B, stage_revision=3)),
        (STAGED, batch(A, 0, 3, reset=True, more=True), Step.BEGIN, STAGED),
        (
            STAGED,
            batch(A, 3, 5, reset=True, more=True),
            Step.CONTINUE,
            Share(stage_epoch=A, stage_revision=5),
        ),
        (STAGED, batch(A, 3, 5, reset=True), Step.CONTINUE, Share(A, 5)),
        (STAGED, batch(A, 3, 3, reset=True), Step.CONTINUE, Share(A, 3)),
        (STAGED, batch(A, 2, 3, reset=True, more=True), Step.REPEAT, STAGED),
        (KNOWN, batch(A, 5, 7, reset=True), Step.REPEAT, KNOWN),
        (KNOWN, batch(A, 7, 9), Step.DELTA, Share(A, 9)),
        (KNOWN, batch(A, 7, 7), Step.DELTA, KNOWN),
        (KNOWN, batch(A, 5, 7), Step.REPEAT, KNOWN),
    ],
)
def test_what_fits(share: Share, message: Publish, step: Step, after: Share) -> None:
    assert next_step(share, message) == (step, after)


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (Share(), batch(A, 0, 3)),
        (Share(), batch(A, 3, 5, reset=True)),
        (KNOWN, batch(A, 6, 8)),
        (KNOWN, batch(A, 8, 9)),
        (KNOWN, batch(A, 7, 6)),
        (KNOWN, batch(B, 7, 9)),
        (KNOWN, batch(B, 5, 7)),
        (KNOWN, batch(A, 7, 9, reset=True)),
        (STAGED, batch(A, 3, 5)),
        (STAGED, batch(A, 2, 3, reset=True)),  # the last part was not applied: only its number is known
        (STAGED, batch(B, 3, 5, reset=True)),
        (STAGED, batch(A, 2, 5, reset=True)),
    ],
)
def test_what_does_not_fit(share: Share, message: Publish) -> None:
    with pytest.raises(OutOfStep):
        next_step(share, message)


@given(
    st.lists(
        st.builds(
            batch,
            st.sampled_from([A, B]),
            st.integers(0, 4),
            st.integers(0, 4),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_a_share_is_known_or_being_listed_never_both(batches: list[Publish]) -> None:
    share = Share()
    for message in batches:
        if not message.reset and message.more:
            continue  # refused by the service
        try:
            _, share = next_step(share, message)
        except OutOfStep:
            pass
        assert share.epoch == NO_EPOCH or share.stage_epoch == NO_EPOCH
        assert share.epoch != NO_EPOCH or share.revision == 0
        assert share.stage_epoch != NO_EPOCH or share.stage_revision == 0


def test_an_announce_behind_ours_forgets() -> None:
    assert KNOWN.announced(A, 6) == Share()
    assert KNOWN.announced(A, 7) == KNOWN
    assert KNOWN.announced(A, 8) == KNOWN
    assert KNOWN.announced(B, 1) == KNOWN
    assert STAGED.announced(A, 1) == STAGED
