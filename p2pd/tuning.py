"""The settings of a running daemon: what holds, what waits for a restart, and how a change comes about. On the event loop.

The rule: new settings are read and judged whole before anything changes; then each live one whose value differs is given to whoever
registered for it with `on`. One that applies at restart keeps its old value here until then. Knows no socket, and of the parts of
the daemon only that they register.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from p2pd import layers, overlay, tomlfile
from p2pd.config import KEYS, Settings, Sources, check, compose
from p2pd.layers import OVERLAY, Given, Layer, Problem
from protocol.errors import Fault

log = logging.getLogger("p2pd.config")

Apply = Callable[[Settings], Any]
"""Makes a setting hold; may be awaitable. Returns a note for the person who changed it, or None. Raises Fault when it cannot."""


@dataclass(frozen=True, slots=True)
class Change:
    """One setting whose value differs from the one before, or waits for a restart. `error` says why it could not be applied."""

    key: str
    before: Any
    value: Any
    origin: str
    where: str
    applied: bool
    note: str = ""
    error: Fault | None = None


@dataclass(frozen=True, slots=True)
class Current:
    """One setting as it is: `value` is what is given, `running` what holds now."""

    key: str
    value: Any
    running: Any
    origin: str
    where: str

    @property
    def pending(self) -> bool:
        """It waits for a restart."""
        return bool(self.value != self.running)


class Tuning:
    """See the module."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._running = sources.values()
        self._apply: dict[str, Apply] = {}
        self._turn = asyncio.Lock()
        self.told: Callable[[list[Change]], object] = lambda changes: None
        """Called after each reload, and each change."""

    @property
    def settings(self) -> Settings:
        """What holds now."""
        return compose(self._sources, self._running)

    @property
    def registered(self) -> frozenset[str]:
        """Settings that somebody has registered for."""
        return frozenset(self._apply)

    def on(self, apply: Apply, *keys: str) -> None:
        """`apply` is called when one of these live settings changes; several at once call it once."""
        for key in keys:
            assert KEYS[key].live, key
            self._apply[key] = apply

    # -- looking ------------------------------------------------------------------------------------------

    def current(self, key: str) -> Current:
        """One setting. Raises Fault usage when there is none of this name."""
        layers.check_key(key, KEYS)
        origin, given = layers.winner(self._sources.layers, key)
        where = "" if given is None else given.where
        return Current(key, self._sources.value(key), self._running[key], origin, where)

    # -- changing -----------------------------------------------------------------------------------------

    async def reload(self) -> list[Change]:
        """Reads the files again. Raises Fault usage with all that is wrong; then nothing has changed."""
        async with self._turn:
            try:
                sources = await asyncio.to_thread(self._sources.again)
                if sources.home != self._sources.home:
                    sources = await asyncio.to_thread(self._in_this_home, sources)
                check(sources)
            except Fault as fault:
                log.warning("! settings not reloaded: %s", fault.message)
                problems = fault.details.get("problems")
                for problem in problems if isinstance(problems, list) and len(problems) > 1 else ():
                    log.warning("! %s", problem["message"])
                raise Fault(
                    fault.code, fault.message, fault.hint or "nothing was changed", fault.details
                ) from fault
            changes = await self._change(sources, KEYS)
        log.info("= settings read again: %d changed", sum(change.applied for change in changes))
        self.told(changes)
        return changes

    async def set(self, key: str, text: str | list[str]) -> list[Change]:
        """Writes a value into the overlay and makes it hold. Raises Fault usage (no such setting, a bad value), storage."""
        read = layers.check_key(key, KEYS).read(text, key)
        if key in overlay.REFUSED:
            raise Fault("usage", f"{key} says where this is kept", "set it in the file, or with a flag")
        return await self._rewrite(key, read)

    async def unset(self, key: str) -> list[Change]:
        """Takes a value out of the overlay; no error when it has none. Raises as `set`."""
        layers.check_key(key, KEYS)
        return await self._rewrite(key, None)

    def overlaid(self, key: str) -> Any:
        """What the overlay gives, or None."""
        given = self._sources.layers.get(OVERLAY, {}).get(key)
        return None if given is None else given.value

    async def _rewrite(self, key: str, value: Any) -> list[Change]:
        async with self._turn:
            home = self._sources.home
            layer = dict(await asyncio.to_thread(_read_overlay, self._sources))
            layer.pop(key, None)
            if value is not None:
                layer[key] = Given(value, str(overlay.path(home)))
            check(self._sources.with_overlay(layer))
            values = {name: given.value for name, given in layer.items()}
            await asyncio.to_thread(overlay.store, home, values)
            layer = dict(await asyncio.to_thread(_read_overlay, self._sources))
            changes = await self._change(self._sources.with_overlay(layer), [key])
        if changes:
            self.told(changes)
        return changes

    def _in_this_home(self, sources: Sources) -> Sources:
        """Another home is for the next start: this one's overlay goes on to hold."""
        return sources.with_overlay(_read_overlay(self._sources))

    async def _change(self, sources: Sources, asked: Collection[str]) -> list[Change]:
        """Makes the live ones hold. All that differ are changed, those `asked` for are told."""
        before = dict(self._running)
        self._sources = _with_home(sources, self._sources)
        wanted = self._sources.values()
        differing = [key for key in KEYS if wanted[key] != before[key]]
        for key in differing:
            if KEYS[key].live:
                self._running[key] = wanted[key]
        notes: dict[str, str] = {}
        errors: dict[str, Fault] = {}
        for apply in dict.fromkeys(self._apply[key] for key in differing if key in self._apply):
            keys = [key for key in differing if self._apply.get(key) is apply]
            try:
                note = apply(self.settings)
                note = await note if inspect.isawaitable(note) else note
            except Fault as fault:
                log.warning("! %s not changed: %s", ", ".join(keys), fault.message)
                for key in keys:
                    self._running[key] = before[key]
                    errors[key] = fault
            else:
                notes.update(dict.fromkeys(keys, note or ""))
        changes = []
        for key in differing:
            if key not in asked:
                continue
            applied = KEYS[key].live and key not in errors
            one = self.current(key)
            if applied:
                log.info("= %s is %s now", key, self._running[key])
            changes.append(
                Change(
                    key,
                    before[key],
                    one.value,
                    one.origin,
                    one.where,
                    applied,
                    notes.get(key, ""),
                    errors.get(key),
                )
            )
        return changes


def _with_home(sources: Sources, before: Sources) -> Sources:
    """The same in the home of this run."""
    return Sources(sources.role, sources.flags, sources.environ, sources.file, before.home, sources.layers)


def _read_overlay(sources: Sources) -> Layer:
    problems: list[Problem] = []
    try:
        document = tomlfile.read(overlay.path(sources.home))
    except FileNotFoundError:
        return {}
    layer = layers.from_document(document, KEYS, problems, overlay.REFUSED)
    if problems:
        raise layers.fault(problems)
    return layer
