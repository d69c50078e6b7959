"""Which of many networks hold an address: one look for each length of prefix there is, however many networks have it.

The rule: the same answer as `addresses.holds` for each. Pure; made once, never changed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Generic, TypeVar

from p2pd.net.addresses import Network, canonical

T = TypeVar("T")


class Networks(Generic[T]):
    """Networks, each with a value."""

    def __init__(self, pairs: Iterable[tuple[Network, T]] = ()) -> None:
        self._tables: dict[tuple[int, int], dict[int, list[T]]] = {}
        for network, value in pairs:
            shift = network.max_prefixlen - network.prefixlen
            table = self._tables.setdefault((network.version, shift), {})
            table.setdefault(int(network.network_address) >> shift, []).append(value)

    def holding(self, host: str) -> list[T]:
        """The values of all that hold this address; none for what is no address."""
        if not self._tables:
            return []
        try:
            address = ipaddress.ip_address(canonical(host.partition("%")[0]))
        except ValueError:
            return []
        number = int(address)
        return [
            value
            for (version, shift), table in self._tables.items()
            if version == address.version
            for value in table.get(number >> shift, ())
        ]
