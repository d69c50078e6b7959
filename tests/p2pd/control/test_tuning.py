"""p2pd/control/tuning.py: settings as maps, and what is said of a change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pd.config import KEYS
from p2pd.control.tuning import TuningMethods
from protocol.errors import Fault
from tests.fakes.supervised import make_supervision, make_tuning


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    logger = logging.getLogger("p2pd")
    before = logger.level
    yield
    logger.setLevel(before)


class Bench:
    """The methods, over the settings of a home."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        self.methods = TuningMethods(make_supervision(home, make_tuning(home, environ=environ))).methods

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        async def progress(event: Any) -> None:
            raise AssertionError("no progress")

        return dict(await self.methods[method](params, progress))


def test_all_settings_and_some(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path, P2PD_LIMIT_UP="20K")
        everything = await bench.ask("config")
        assert [item["key"] for item in everything["items"]] == list(KEYS)
        assert (everything["next"], everything["partial"]) == (None, False)
        (item,) = (await bench.ask("config", keys=["limit.up"]))["items"]
        assert item == {
            "key": "limit.up",
            "value": 20480,
            "origin": "environment",
            "where": "P2PD_LIMIT_UP",
            "applies": "live",
            "pending": False,
            "running": 20480,
            "default": 0,
            "help": KEYS["limit.up"].help,
        }
        assert (await bench.ask("config", keys=[]))["items"] == []

    asyncio.run(work())


def test_what_is_said_of_a_change(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path, P2PD_LOG_LEVEL="error")
        nice = await bench.ask("config_set", key="daemon.nice", value="7")
        assert (nice["changed"], nice["value"], nice["running"], nice["pending"]) == (True, 7, 10, True)
        again = await bench.ask("config_set", key="daemon.nice", value="7")
        assert again["changed"] is False
        level = await bench.ask("config_set", key="log.level", value="debug")
        assert (level["changed"], level["value"]) == (True, "error")
        assert level["warnings"] == ["P2PD_LOG_LEVEL wins over it: log.level stays as it is"]
        file = await bench.ask("config_set", key="log.file", value="no/such/place")
        assert "cannot open the log file" in file["warnings"][0]
        for changed in (True, False):
            back = await bench.ask("config_unset", key="daemon.nice")
            assert (back["changed"], back["value"], back["pending"], back["warnings"]) == (
                changed,
                10,
                False,
                [],
            )

    asyncio.run(work())


def test_a_reload_tells_each_change(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        assert (await bench.ask("reload"))["items"] == []
        (tmp_path / "p2pd.toml").write_text("[log]\nformat = 'json'\n[peer]\nlisten = '1'\n")
        listen, style = (await bench.ask("reload"))["items"]
        assert style == {
            "key": "log.format",
            "before": "text",
            "value": "json",
            "origin": "file",
            "where": f"{tmp_path}/p2pd.toml:2",
            "applies": "live",
            "applied": True,
            "note": None,
            "error": None,
        }
        assert (listen["key"], listen["applied"], listen["applies"]) == ("peer.listen", False, "restart")

    asyncio.run(work())


def test_what_cannot_be(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        for method, params in (
            ("config", {"keys": ["log.levle"]}),
            ("config_set", {"key": "log.levle", "value": "info"}),
            ("config_set", {"key": "log.level", "value": 1}),
            ("config_unset", {"key": "log.levle"}),
        ):
            with pytest.raises(Fault) as caught:
                await bench.ask(method, **params)
            assert caught.value.code == "usage"

    asyncio.run(work())
