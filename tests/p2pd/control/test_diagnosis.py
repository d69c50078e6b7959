"""p2pd/control/diagnosis.py: every check is run, and none keeps the others from saying what they found."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from p2pd.config import load
from p2pd.control import diagnosis
from p2pd.control.diagnosis import OK, WARN, Check, Finding, Patient, examine
from p2pd.control.diagnosis import patient as make_patient
from p2pd.net.keyring import Keyring
from protocol.errors import Fault
from tests.fakes.swarm import SECRET


def patient(home: Path) -> Patient:
    return make_patient(load("tracker", {"daemon.home": str(home)}, {}), Keyring(SECRET), None, None)


async def good(patient: Patient) -> list[Finding]:
    return [Finding(OK, "a"), Finding(OK, "b")]


async def nothing(patient: Patient) -> list[Finding]:
    return []


async def known(patient: Patient) -> list[Finding]:
    raise Fault("network", "nobody is there", "try again")


async def broken(patient: Patient) -> list[Finding]:
    raise ZeroDivisionError("oops\x1b[31m")


async def slow(patient: Patient) -> list[Finding]:
    await asyncio.sleep(3600)
    return []


def test_whatever_happens_each_check_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "CHECK_SECONDS", 0.01)
    table = [Check(look.__name__, look) for look in (slow, good, nothing, known, broken)]
    table.append(Check("peers", good, peers_only=True))
    found = asyncio.run(examine(table, patient(tmp_path)))
    assert [(name, finding.status) for name, finding in found] == [
        ("slow", WARN),
        ("good", OK),
        ("good", OK),
        ("known", WARN),
        ("broken", WARN),
    ]
    assert found[3][1].hint == "try again"
    assert "\x1b" not in found[4][1].message
