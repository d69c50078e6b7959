"""The page of figures of real daemons: there when it is asked for, on this machine only."""

from __future__ import annotations

import re
import urllib.request

from tests.fakes.processes import Daemon, Swarm


def figures(daemon: Daemon) -> str:
    """The text of its page; the port is in its log."""
    match = re.search(r"metrics on (http://127\.0\.0\.1:\d+/metrics)", daemon.log.read_text())
    assert match is not None
    with urllib.request.urlopen(match[1], timeout=10) as answer:
        return str(answer.read().decode())


def test_a_tracker_and_a_peer_show_what_they_count(swarm: Swarm) -> None:
    swarm.environ["P2PD_METRICS_LISTEN"] = "0"
    tracker = swarm.tracker()
    alice = swarm.peer("alice", tracker).connected()
    alice.ok("search", "nothing")
    shown = figures(tracker)
    assert "p2pd_tracker_devices 1.0\n" in shown
    assert "p2pd_tracker_searches_total 1.0\n" in shown
    assert 'p2pd_peer_tracker_up{tracker="' in figures(alice)
    assert "p2pd_peer_sessions 0.0\n" in figures(alice)


def test_an_address_that_others_reach_is_refused(swarm: Swarm) -> None:
    swarm.environ["P2PD_METRICS_LISTEN"] = "0.0.0.0:9464"
    daemon = swarm.make("tracker", "tracker")
    assert daemon.launch().wait(20) == 2
    assert "loopback" in daemon.log.read_text()
