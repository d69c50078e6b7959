"""tests/fakes/asked.py: the stand-in for podman refuses what packaging/ does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocol.errors import Fault
from tests.fakes.asked import Unlike, podman

BUILD = "build --format docker -f packaging/container/Containerfile -t p2pd ."
RUN = "run -d --name peer -p 8001:8001 -v state:/var/lib/p2pd --secret s,uid=8001 -e P2PD_PASSWORD_FILE=/run/secrets/s p2pd"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(Path(__file__).resolve().parent.parent)
    secret = tmp_path / "secret"
    secret.write_text("words")
    state: dict[str, Any] = {}
    podman(["secret", "create", "s", str(secret)], state)
    return state


def test_what_podman_would_do(state: dict[str, Any]) -> None:
    all_of([BUILD, RUN, "exec peer p2pctl status"], state)
    assert (list(state["images"]), state["containers"]) == (["p2pd"], ["peer"])


def all_of(lines: list[str], state: dict[str, Any]) -> None:
    for words in lines:
        podman(words.split(), state)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("p2pd .", "p2pd /tmp"),
        ("docker", "oci"),
        ("Containerfile", "Dockerfile"),
        ("8001:8001", "8001:8002"),
        (":/var/lib/p2pd", ":/data"),
        ("state:", "/no/such/place:"),
        ("secret s,", "secret t,"),
        ("uid=8001", "uid=0"),
        ("secrets/s", "secrets/t"),
        ("P2PD_PASSWORD_FILE=/run/secrets/s", "P2PD_PEER_LISTN=1"),
        ("uid=8001 -e P2PD_PASSWORD_FILE=/run/secrets/s p2pd", "uid=8001 other"),
        ("p2pctl status", "p2pctl statsu"),
        ("exec peer", "exec pear"),
        ("run -d", "rnu -d"),
    ],
)
def test_what_podman_would_not_do(state: dict[str, Any], before: str, after: str) -> None:
    lines = [line.replace(before, after) for line in (BUILD, RUN, "exec peer p2pctl status")]
    assert lines != [BUILD, RUN, "exec peer p2pctl status"]
    with pytest.raises((Unlike, OSError, Fault)):
        all_of(lines, state)
