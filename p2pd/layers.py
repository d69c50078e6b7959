"""The layers of settings: flag > environment > overlay > file > default. What each gives, where, and all that is wrong with it.

The rule: a reader of a layer never stops at the first mistake; each becomes a Problem that names its place (file and line, variable
or flag), and all are told together. The overlay is what `p2pctl config set` wrote (p2pd/overlay.py). Takes the table of settings
as an argument.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from p2pd.kinds import Key, shown
from p2pd.tomlfile import Document
from protocol.errors import Fault

FLAG, ENVIRONMENT, OVERLAY, FILE, DEFAULT = "flag", "environment", "overlay", "file", "default"
ORDER = (FLAG, ENVIRONMENT, OVERLAY, FILE)
"""The first that gives a setting wins."""

SHORT = {"P2PD_HOME": "daemon.home", "P2PD_SOCKET": "daemon.socket"}
"""Variables with names of their own; they win over the long ones."""

_OPTIONS = {
    "peer.trackers": "--tracker",
    "peer.share_downloads": "--no-share-downloads",
    "tracker.registry": "--registry",
}
"""Flags that are not called as their settings."""

Keys = Mapping[str, Key]


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a layer gives, and where: `PATH:LINE`, `P2PD_LOG_LEVEL`, `--log-level`."""

    value: Any
    where: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `message` begins with its place."""

    where: str
    key: str
    message: str
    hint: str = ""


Layer = Mapping[str, Given]
Layers = Mapping[str, Layer]


def winner(layers: Layers, name: str) -> tuple[str, Given | None]:
    """The layer that gives a setting, and what; (`default`, None) when none does."""
    for origin in ORDER:
        given = layers.get(origin, {}).get(name)
        if given is not None:
            return origin, given
    return DEFAULT, None


def value(layers: Layers, keys: Keys, name: str) -> Any:
    """What holds of all that is given."""
    _, given = winner(layers, name)
    return keys[name].default if given is None else given.value


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return "P2PD_" + name.upper().replace(".", "_")


def option(name: str) -> str:
    """The flag of a setting, as p2pd/cli.py calls it."""
    if name in _OPTIONS:
        return _OPTIONS[name]
    section, _, key = name.partition(".")
    words = name if section in ("log", "password", "limit") else key
    return "--" + words.replace(".", "-").replace("_", "-")


# -- reading ----------------------------------------------------------------------------------------------


def from_document(
    document: Document, keys: Keys, problems: list[Problem], refused: Collection[str] = ()
) -> dict[str, Given]:
    """What a file gives; settings in `refused` may not stand in it."""
    found: dict[str, Given] = {}
    sections = {name.partition(".")[0] for name in keys}
    for section, table in document.values.items():
        where = document.where(section)
        if section not in sections:
            if isinstance(table, dict):
                hint = _nearest(section, sections, "[{}]", f"known sections: {', '.join(sorted(sections))}")
                message = f"unknown section [{section}]"
            else:
                hint = _nearest(f"x.{section}", keys, "{}", f"known sections: {', '.join(sorted(sections))}")
                message = f"{section!r} stands outside a section"
            problems.append(Problem(where, section, f"{where}: {message}", hint))
            continue
        if not isinstance(table, dict):
            message = f"[{section}] must be a section, not {shown(table)}"
            problems.append(Problem(where, section, f"{where}: {message}", f"write [{section}]"))
            continue
        for key, given in table.items():
            name, where = f"{section}.{key}", document.where(section, key)
            if name not in keys:
                hint = _nearest(name, keys, "{}", _known_in(section, keys))
                problems.append(Problem(where, name, f"{where}: unknown setting {name}", hint))
            elif name in refused:
                message = f"{where}: {name} cannot stand in this file"
                problems.append(Problem(where, name, message, "remove the line"))
            else:
                _take(found, keys, name, given, where, f"{where}: {name}", problems)
    return found


def from_environment(environ: Mapping[str, str], keys: Keys, problems: list[Problem]) -> dict[str, Given]:
    """What the environment gives. A variable that begins like a setting and is none is a mistake."""
    found: dict[str, Given] = {}
    names = {variable(name): name for name in keys}
    sections = tuple({variable(name.partition(".")[0]) + "_" for name in keys})
    for name in sorted(environ):
        if name in names:
            _take(found, keys, names[name], environ[name], name, name, problems)
        elif name.startswith(sections):
            hint = _nearest(name, names, "{}", "docs/config.md lists all variables")
            problems.append(Problem(name, name, f"{name}: no setting has this variable", hint))
    for name, key in SHORT.items():
        if environ.get(name):
            _take(found, keys, key, environ[name], name, name, problems)
    return found


def from_flags(
    flags: Mapping[str, Any], keys: Keys, problems: list[Problem], named: Mapping[str, str] = {}
) -> dict[str, Given]:
    """What the command line gives; None means not given. `named` are flags that are called otherwise than `option` says."""
    found: dict[str, Given] = {}
    for name, given in flags.items():
        if given is not None and name in keys:
            word = named.get(name) or option(name)
            _take(found, keys, name, given, word, word, problems)
    return found


def _take(
    found: dict[str, Given],
    keys: Keys,
    name: str,
    given: Any,
    where: str,
    lead: str,
    problems: list[Problem],
) -> None:
    try:
        found[name] = Given(keys[name].read(given, lead), where)
    except Fault as fault:
        problems.append(Problem(where, name, fault.message, fault.hint))


def check_key(name: str, keys: Keys) -> Key:
    """The setting of this name. Raises Fault usage with the nearest one."""
    if name not in keys:
        raise Fault(
            "usage",
            f"there is no setting {name!r}",
            _nearest(name, keys, "{}", "p2pctl config list shows all settings"),
        )
    return keys[name]


def _nearest(name: str, known: Iterable[str], form: str, otherwise: str) -> str:
    names = list(known)
    last = name.rpartition(".")[2]  # the right word in a wrong section, as in peer.level
    near = [one for one in names if "." in one and one.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {form.format(near[0])}?"
    return otherwise


def _known_in(section: str, keys: Keys) -> str:
    return f"settings of [{section}]: " + ", ".join(name for name in keys if name.startswith(f"{section}."))


def fault(problems: list[Problem]) -> Fault:
    """All of them as one Fault usage: a single one in its own words, of several the details hold each."""
    details: dict[str, object] = {
        "problems": [
            {"where": one.where, "key": one.key, "message": one.message, "hint": one.hint} for one in problems
        ]
    }
    if len(problems) == 1:
        return Fault("usage", problems[0].message, problems[0].hint, details)
    return Fault("usage", f"{len(problems)} settings are wrong", "", details)
