"""What the daemon knows that may complete a word: names, ids, transfers, devices, settings.

The rule: an answer in time or none; whatever fails gives nothing. Knows no shell and no command.
"""

from __future__ import annotations

from p2pctl.units import format_size
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from p2pctl.client import Client
    from p2pctl.completing import Candidate

MOST = 100  # more than anybody reads
EXACT = "name:"


def asking(client: Callable[[], Client]) -> Callable[[str, str], Iterable[Candidate]]:
    """The `ask` of completing.complete. `client()` gives a connection whose time is bounded."""

    def ask(kind: str, text: str) -> list[Candidate]:
        name, _, states = kind.partition(":")
        try:
            return list(SOURCES[name](client(), text, states))
        except (Fault, KeyError, TypeError):
            return []

    return ask


def _plain(name: str) -> bool:
    """Does it mean this file when it is typed: not an option, not `#3` of the shell, not an id or the beginning of one?"""
    from protocol.ids import MIN_PREFIX, is_hex

    return name[:1] not in "-#" and not (len(name) >= MIN_PREFIX and is_hex(name.lower()))


def _contents(kind: str) -> Callable[[Client, str, str], Iterator[Candidate]]:
    def candidates(client: Client, text: str, _: str) -> Iterator[Candidate]:
        from p2pctl.completing import Candidate

        exact = text.startswith(EXACT)
        begin = text.removeprefix(EXACT)
        page = client.call("complete", {"kind": kind, "text": begin, "limit": MOST})
        for item in page["items"]:
            value, size = str(item["value"]), format_size(item["size_bytes"])
            if value != item["name"]:
                if not exact:
                    yield Candidate(value, f"{item['name']}, {size}")
            elif exact or not _plain(value):
                yield Candidate(EXACT + value, size)
            else:
                yield Candidate(value, size)

    return candidates


def _transfers(client: Client, text: str, states: str) -> Iterator[Candidate]:
    from p2pctl.completing import Candidate

    params: dict[str, Any] = {"limit": MOST}
    if states:
        params["states"] = states.split(",")
    for item in client.call("transfers", params)["items"]:
        if str(item["transfer"]).startswith(text):
            yield Candidate(str(item["transfer"]), f"{item['name']}, {item['state']}")


def _devices(client: Client, text: str, _: str) -> Iterator[Candidate]:
    from p2pctl.completing import Candidate

    for item in client.call("peers", {"limit": MOST})["items"]:
        if str(item["device_id"]).startswith(text):
            yield Candidate(str(item["device_id"]), str(item.get("address") or ""))


def _wants(client: Client, text: str, _: str) -> Iterator[Candidate]:
    from p2pctl.completing import Candidate

    for item in client.call("wants", {"limit": MOST})["items"]:
        if str(item["want"]).startswith(text):
            yield Candidate(str(item["want"]), str(item.get("what") or ""))


def _bans(client: Client, text: str, _: str) -> Iterator[Candidate]:
    from p2pctl.completing import Candidate

    for item in client.call("bans", {"limit": MOST})["items"]:
        if str(item["subject"]).startswith(text):
            yield Candidate(str(item["subject"]), str(item.get("reason") or ""))


def _settings(client: Client, text: str, _: str) -> Iterator[Candidate]:
    from p2pctl.completing import Candidate

    for item in client.call("config", {})["items"]:
        if str(item["key"]).startswith(text):
            yield Candidate(str(item["key"]), str(item.get("help") or ""))


SOURCES: dict[str, Callable[[Client, str, str], Iterator[Candidate]]] = {
    "shared": _contents("shared"),
    "found": _contents("found"),
    "transfers": _transfers,
    "devices": _devices,
    "settings": _settings,
    "wants": _wants,
    "bans": _bans,
}
