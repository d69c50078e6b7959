"""p2pd/peer/bandwidth.py: what is set at run time wins, is kept, and can be given back."""

from __future__ import annotations

from pathlib import Path

from p2pd.peer.bandwidth import DOWN, UP, Bandwidth, Flow
from p2pd.storage.state import State


class Bench:
    """Bandwidth over a real database; limits are noted instead of obeyed."""

    def __init__(self, path: Path, up: int = 0, down: int = 0) -> None:
        self.store = State(path)
        self.now = 0.0
        self.octets = {UP: 0, DOWN: 0}
        self.applied: dict[str, list[int]] = {UP: [], DOWN: []}
        self.bandwidth = Bandwidth(
            self.store,
            {UP: up, DOWN: down},
            {UP: self.applied[UP].append, DOWN: self.applied[DOWN].append},
            {UP: lambda: self.octets[UP], DOWN: lambda: self.octets[DOWN]},
            lambda: self.now,
        )
        self.bandwidth.start()


def test_the_settings_hold_until_something_else_is_set(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "a.db", up=1000, down=2000)
    assert bench.applied == {UP: [1000], DOWN: [2000]}
    bench.bandwidth.set(UP, 5000)
    bench.bandwidth.set(DOWN, 0)
    assert bench.applied == {UP: [1000, 5000], DOWN: [2000, 0]}
    assert bench.bandwidth.flow(UP) == Flow(UP, 5000, True, 0)
    assert bench.bandwidth.flow(DOWN) == Flow(DOWN, 0, True, 0)
    bench.bandwidth.set(UP, None)
    assert bench.bandwidth.flow(UP) == Flow(UP, 1000, False, 0)
    bench.store.close()


def test_a_restart_keeps_what_was_set(tmp_path: Path) -> None:
    first = Bench(tmp_path / "a.db", up=1000, down=2000)
    first.bandwidth.set(UP, 5000)
    first.store.close()
    second = Bench(tmp_path / "a.db", up=7000, down=7000)
    assert second.applied == {UP: [5000], DOWN: [7000]}
    second.bandwidth.set(UP, None)
    second.store.close()
    third = Bench(tmp_path / "a.db", up=9000)
    assert third.applied == {UP: [9000], DOWN: [0]}
    third.store.close()


def test_another_setting_holds_unless_something_else_is_set(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "a.db", up=1000)
    assert bench.bandwidth.configure(UP, 3000)
    assert bench.applied[UP] == [1000, 3000]
    bench.bandwidth.set(UP, 5000)
    assert not bench.bandwidth.configure(UP, 4000)
    assert bench.bandwidth.limit(UP) == 5000
    bench.bandwidth.set(UP, None)
    assert bench.applied[UP] == [1000, 3000, 5000, 4000]
    bench.store.close()


def test_it_tells_what_flows(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "a.db")
    for _ in range(10):
        bench.now += 0.5
        bench.octets[UP] += 500
        bench.octets[DOWN] += 5
        bench.bandwidth.measure()
    assert (bench.bandwidth.flow(UP).rate, bench.bandwidth.flow(DOWN).rate) == (1000, 10)
    bench.store.close()
