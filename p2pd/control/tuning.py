"""The methods of the control API about settings: `config`, `config_set`, `config_unset`, `reload`. On the event loop.

The rule: as in control/api.py, of which this is a part. What changes is done by p2pd/tuning.py; this says it in plain maps.
"""

from __future__ import annotations

from typing import Any

from p2pd.config import KEYS
from p2pd.control import params as read_params
from p2pd.control.items import Item, fault_item
from p2pd.control.pages import page
from p2pd.control.server import Method, Progress
from p2pd.layers import OVERLAY
from p2pd.supervision import Supervision
from p2pd.tuning import Change


class TuningMethods:
    """See the module."""

    def __init__(self, supervision: Supervision) -> None:
        self._tuning = supervision.tuning
        self._reload = supervision.reload
        self.methods: dict[str, Method] = {
            "config": self.config,
            "config_set": self.config_set,
            "config_unset": self.config_unset,
            "reload": self.reload,
        }

    async def config(self, params: dict[str, Any], progress: Progress) -> Item:
        """All settings, or some."""
        asked = read_params.read(read_params.Config, params)
        return page([self._item(key) for key in (KEYS if asked.keys is None else asked.keys)], None)

    async def config_set(self, params: dict[str, Any], progress: Progress) -> Item:
        """Another value, kept in the overlay."""
        asked = read_params.read(read_params.ConfigSet, params)
        before = self._tuning.overlaid(asked.key)
        return self._answer(asked.key, await self._tuning.set(asked.key, asked.value), before)

    async def config_unset(self, params: dict[str, Any], progress: Progress) -> Item:
        """No value in the overlay."""
        asked = read_params.read(read_params.ConfigUnset, params)
        before = self._tuning.overlaid(asked.key)
        return self._answer(asked.key, await self._tuning.unset(asked.key), before)

    async def reload(self, params: dict[str, Any], progress: Progress) -> Item:
        """The files again."""
        read_params.read(read_params.Nothing, params)
        changes = await self._reload()
        return page([change_item(change) for change in changes], None)

    def _item(self, key: str) -> Item:
        one = self._tuning.current(key)
        return {
            "key": key,
            "value": KEYS[key].mask(one.value),
            "origin": one.origin,
            "where": one.where,
            "applies": KEYS[key].applies,
            "pending": one.pending,
            "running": KEYS[key].mask(one.running),
            "default": KEYS[key].default,
            "help": KEYS[key].help,
        }

    def _answer(self, key: str, changes: list[Change], before: Any) -> Item:
        item = self._item(key)
        warnings = [
            text
            for change in changes
            for text in (change.note, change.error.message if change.error else "")
            if text
        ]
        after = self._tuning.overlaid(key)
        if after is not None and item["origin"] != OVERLAY:
            warnings.append(f"{item['where']} wins over it: {key} stays as it is")
        return {**item, "changed": after != before, "warnings": warnings}


def change_item(change: Change) -> Item:
    """One setting that a reload found different."""
    return {
        "key": change.key,
        "before": KEYS[change.key].mask(change.before),
        "value": KEYS[change.key].mask(change.value),
        "origin": change.origin,
        "where": change.where,
        "applies": KEYS[change.key].applies,
        "applied": change.applied,
        "note": change.note or None,
        "error": fault_item(change.error),
    }
