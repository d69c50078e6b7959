"""p2pd.logflood: what is let through, what is counted, and when it is told."""

from __future__ import annotations

from p2pd.logflood import ALIKE, REMEMBERED, SAME, WINDOW, Floods


def admit(floods: Floods, same: object, alike: object = "kind", now: float = 0.0) -> bool:
    return floods.admit(("s", same), ("a", alike), "info", "area", f"{same}", now)


def test_equal_lines_are_let_through_so_often() -> None:
    floods = Floods()
    assert [admit(floods, "x") for _ in range(SAME + 5)] == [True] * SAME + [False] * 5
    assert admit(floods, "y")
    assert floods.over(WINDOW - 1) == []
    (told,) = floods.over(WINDOW)
    assert (told.left_out, told.level, told.area) == (5, "info", "area")
    assert told.text == "... 5 more like this: x"
    assert floods.over(WINDOW) == []
    assert admit(floods, "x", now=WINDOW)


def test_lines_of_one_kind_are_let_through_more_often() -> None:
    floods = Floods()
    passed = [admit(floods, number) for number in range(ALIKE + 7)]
    assert passed == [True] * ALIKE + [False] * 7
    assert admit(floods, "x", "another kind")
    (told,) = floods.over(WINDOW)
    assert told.text == f"... 7 more like this: {ALIKE + 6}"


def test_what_is_counted_is_bounded_and_nothing_is_forgotten_untold() -> None:
    floods = Floods()
    for _ in range(SAME + 3):
        admit(floods, "first", "first")
    for number in range(3 * REMEMBERED):
        admit(floods, number, number)
        told = floods.over(0.0)
        if told:
            assert [one.text for one in told] == ["... 3 more like this: first"]
            break
    else:
        raise AssertionError("never told")
    for number in range(3 * REMEMBERED):
        admit(floods, number, number)
        floods.over(0.0)
    assert len(floods._seen) <= REMEMBERED
