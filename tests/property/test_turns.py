"""p2pd/engine/turns.py: whatever comes and goes, nothing is lost or doubled, order holds for each owner, and no turn is wasted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pd.engine.turns import Turns

OWNERS = "abcdef"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(OWNERS), st.integers(1, 50)),
        st.tuples(st.just("first"), st.sampled_from(OWNERS), st.integers(1, 50)),
        st.tuples(st.just("next"), st.sets(st.sampled_from(OWNERS)), st.floats(0, 10)),
        st.tuples(st.just("remove"), st.sampled_from(OWNERS), st.integers(0, 2)),
        st.tuples(st.just("leave"), st.sampled_from(OWNERS), st.none()),
    ),
    max_size=150,
)


@given(steps=STEPS, slots=st.integers(0, 3))
def test_nothing_is_lost_and_order_holds(steps: list[tuple[str, object, object]], slots: int) -> None:
    turns: Turns[str, tuple[int, int]] = Turns(slots)
    model: dict[str, list[tuple[int, int]]] = {}
    now, number = 0.0, 0
    for kind, who, value in steps:
        if kind in ("add", "first"):
            number += 1
            item = (number, value)
            turns.add(who, item, first=kind == "first")  # type: ignore[arg-type]
            model.setdefault(who, []).insert(0 if kind == "first" else len(model[who]), item)  # type: ignore[arg-type, index]
        elif kind == "next":
            now += value  # type: ignore[operator]
            able = {owner for owner in who if model.get(owner)}  # type: ignore[attr-defined]
            found = turns.next(now, lambda owner: owner in able)  # noqa: B023
            if found is None:
                assert not able, "somebody was ready and got nothing"
            else:
                owner, item = found
                assert owner in able
                assert model[owner].pop(0) == item
                turns.charge(owner, item[1])
        elif kind == "remove":
            gone = turns.remove(who, lambda item: item[0] % 3 == value)  # type: ignore[arg-type] # noqa: B023
            assert gone == [item for item in model.get(who, []) if item[0] % 3 == value]  # type: ignore[call-overload]
            model[who] = [item for item in model.get(who, []) if item[0] % 3 != value]  # type: ignore[call-overload, index]
        else:
            turns.leave(who)  # type: ignore[arg-type]
            model.pop(who, None)  # type: ignore[call-overload]
        assert len(turns) == sum(bool(items) for items in model.values())
        assert len(turns.served) <= (slots or len(OWNERS))
        assert all(turns.waiting(owner) == len(items) for owner, items in model.items())
