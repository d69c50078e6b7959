"""The method `doctor` of the control API: the table of checks, and what they found."""

from __future__ import annotations

from typing import Any

from p2pd.control import checks_machine, checks_swarm
from p2pd.control import params as read_params
from p2pd.control.diagnosis import Check, Patient, examine
from p2pd.control.items import Item
from p2pd.control.pages import page
from p2pd.control.server import Method, Progress

CHECKS = (
    Check("password", checks_machine.key),
    Check("tracker", checks_swarm.reachable_trackers, peers_only=True),
    Check("key", checks_swarm.same_key, peers_only=True),
    Check("clock", checks_swarm.clock, peers_only=True),
    Check("listen", checks_machine.listening),
    Check("reachable", checks_swarm.reachable, peers_only=True),
    Check("announce", checks_swarm.announced, peers_only=True),
    Check("home", checks_machine.home),
    Check("downloads", checks_machine.downloads, peers_only=True),
    Check("shares", checks_machine.shares, peers_only=True),
    Check("space", checks_machine.space),
    Check("descriptors", checks_machine.descriptors),
    Check("sealing", checks_machine.sealing),
)
"""All checks, in the order in which a person reads them. A new one is a function (see diagnosis.py) and a row here."""


class Doctor:
    """See the module."""

    def __init__(self, patient: Patient) -> None:
        self._patient = patient
        self.methods: dict[str, Method] = {"doctor": self.doctor}

    async def doctor(self, params: dict[str, Any], progress: Progress) -> Item:
        """Looks at everything once."""
        read_params.read(read_params.Nothing, params)
        found = await examine(CHECKS, self._patient)
        items = [
            {"check": name, "status": finding.status, "message": finding.message, "hint": finding.hint}
            for name, finding in found
        ]
        return page(items, None)
