"""What this process asks of the system: descriptors, manners towards other programs, no core files.

The rule: what the system does not give is done without; only what its lack means for others is said. Knows no role.
"""

from __future__ import annotations

import logging
import os
import resource
from contextlib import suppress

log = logging.getLogger("p2pd.process")

DESCRIPTORS = 8192
DESCRIPTORS_SPARE = 1024  # for all that is no connection of the tracker's


def keep_no_core() -> None:
    """A core file would hold keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def room_for(connections: int) -> int:
    """As many connections as there are descriptors for: libzmq spins at the limit, so it must not come near."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    room = (
        connections if soft == resource.RLIM_INFINITY else max(64, min(connections, soft - DESCRIPTORS_SPARE))
    )
    if room < connections:
        log.warning("! at most %d connections, since only %d files may be open (ulimit -n)", room, soft)
    return room


def raise_descriptor_limit(more: int) -> None:
    """As many descriptors as the sockets at their limits may need, if the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS + more
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def give_way(nice: int) -> None:
    """Lets other programs go first when the cores are busy, the more so the higher `nice` is: a transfer takes all there is, and
    whoever types a command should not wait for it. Threads that are started later inherit it. What a service manager set further
    stays.
    """
    with suppress(OSError):  # a container may forbid it; a matter of manners, not of work
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
