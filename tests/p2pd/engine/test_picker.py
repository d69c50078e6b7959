"""p2pd/engine/picker.py: the rarest first, ties broken by seed or by order."""

from __future__ import annotations

import random
from collections import Counter

from p2pd.engine.picker import Picker


def make_picker(count: int, *partial: int) -> Picker:
    picker = Picker(count, random.Random(1))
    for bits in partial:
        picker.add(bits)
    return picker


def test_nothing_to_choose_from() -> None:
    assert make_picker(4).choose(0, in_order=False) is None
    assert make_picker(0).choose(0, in_order=True) is None


def test_the_rarest_candidate_is_chosen() -> None:
    picker = make_picker(4, 0b1111, 0b0111, 0b0011)
    assert picker.choose(0b1111, in_order=False) == 3
    assert picker.choose(0b0111, in_order=False) == 2
    assert {picker.choose(0b0011, in_order=False) for _ in range(50)} == {0, 1}


def test_a_source_that_leaves_takes_its_weight_with_it() -> None:
    picker = make_picker(3, 0b011, 0b110)
    assert picker.choose(0b011, in_order=True) == 0
    picker.discard(0b110)
    picker.add(0b001)
    # 0 is held twice, 1 once, 2 by nobody who is counted
    assert [picker.choose(bits, in_order=True) for bits in (0b111, 0b011, 0b001)] == [2, 1, 0]


def test_rarity_is_that_of_a_plain_count() -> None:
    rng = random.Random(3)
    picker, held, count = make_picker(12), [], [0] * 12
    for _ in range(400):
        if held and rng.random() < 0.4:
            bits, step = held.pop(rng.randrange(len(held))), -1
            picker.discard(bits)
        else:
            bits, step = rng.getrandbits(12), 1
            held.append(bits)
            picker.add(bits)
        for piece in range(12):
            count[piece] += step * (bits >> piece & 1)
        candidates = rng.getrandbits(12) or 1
        least = min(count[piece] for piece in range(12) if candidates >> piece & 1)
        chosen = picker.choose(candidates, in_order=False)
        assert chosen is not None
        assert candidates >> chosen & 1
        assert count[chosen] == least


def test_in_order_goes_round_from_a_place_of_its_own() -> None:
    def order(seed: int) -> list[int]:
        picker, wanted, taken = Picker(100, random.Random(seed)), (1 << 100) - 1, []
        while wanted:
            piece = picker.choose(wanted, in_order=True)
            assert piece is not None
            taken.append(piece)
            wanted ^= 1 << piece
        return taken

    first = order(1)
    assert first == [*range(first[0], 100), *range(first[0])]
    assert len({order(seed)[0] for seed in range(20)}) > 10


def test_out_of_order_only_candidates_are_chosen_and_all_of_them_can_be() -> None:
    picker = make_picker(16)
    candidates = 0b1000_0100_0010_0001
    chosen = Counter(picker.choose(candidates, in_order=False) for _ in range(400))
    assert set(chosen) == {0, 5, 10, 15}
    assert min(chosen.values()) >= 10


def test_one_seed_one_order() -> None:
    def draw(seed: int) -> list[int | None]:
        picker = Picker(64, random.Random(seed))
        return [picker.choose((1 << 64) - 1, in_order=False) for _ in range(20)]

    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_the_largest_file_is_chosen_from_quickly_enough_to_count() -> None:
    picker = make_picker(65_536, (1 << 65_536) - 2)
    assert picker.choose((1 << 65_536) - 1, in_order=False) == 0
