"""The ZeroMQ context and the C library underneath it.

Rule: libc's random generator is seeded from the operating system before the first context exists. libzmq
draws the start of a ROUTER's generated routing ids from `rand()` and never seeds it, so the ids would be
the same in every run; and `tune_malloc` is called before threads exist. The module knows no socket.

Where libc cannot be reached (Windows keeps the generator per thread) the context is made all the same and
the ids stay predictable: nothing here trusts a routing id, it only names a connection.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from contextlib import suppress

import zmq

from protocol.limits import MIB

_log = logging.getLogger(__name__)

MAX_SOCKETS = 2048  # one DEALER a source and a monitor pair each; libzmq's default of 1,023 counts them all
IO_THREADS = 1  # one keeps up with two cores' worth of sealing; more only take turns with it

_MALLOPT = (  # numbers of glibc's <malloc.h>
    # M_MMAP_THRESHOLD, at glibc's upper bound, and M_TRIM_THRESHOLD: a block's buffer comes from the heap,
    # not from mmap, and stays there when it is freed. The first without the second is slower than neither.
    (-3, 32 * MIB),
    (-1, 64 * MIB),
    # M_ARENA_MAX: with one arena a thread (the default) each keeps what it once needed
    (-8, 2),
)
_ZERO_COPY_RECV = 10  # zmq.h ZMQ_ZERO_COPY_RECV; it has no name in pyzmq


def make_context(
    io_threads: int = IO_THREADS, max_sockets: int = MAX_SOCKETS
) -> zmq.Context[zmq.Socket[bytes]]:
    """A fresh context with its limits set and routing ids that cannot be guessed."""
    seed_libc()
    context = zmq.Context[zmq.Socket[bytes]](io_threads)
    context.set(zmq.ContextOption.MAX_SOCKETS, max_sockets)
    # Off: else a small message keeps the 8 KiB buffer it arrived in. Parts of 34 octets, one by one, took
    # 130 times their size in memory; large messages are read into place either way, and measured the same.
    with suppress(zmq.ZMQError):
        context.set(_ZERO_COPY_RECV, 0)
    return context


def seed_libc() -> bool:
    """Seed libc's `rand()` from os.urandom; False where that cannot be done (then said in the log)."""
    libc = _libc()
    if libc is None:
        _log.warning("libc is out of reach: routing ids are predictable")
        return False
    libc.srand(ctypes.c_uint(int.from_bytes(os.urandom(4), sys.byteorder)))
    return True


def tune_malloc() -> bool:
    """Let glibc reuse the buffers of 1 MiB messages instead of mapping and unmapping each; False elsewhere.

    Call it once, early. Measured with a ROUTER sending 1 MiB messages to a DEALER on loopback, two cores:
    1.6 to 2.8 GB/s, page faults a fourteenth, CPU time two thirds; for six such pairs in one process 1.2 to
    2.0 GB/s at the same peak of memory (bench/ has the whole path).
    """
    if sys.platform != "linux":
        return False
    libc = _libc()
    try:
        confstr = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        confstr = None
    if libc is None or not confstr or not hasattr(libc, "mallopt"):
        return False
    taken = [libc.mallopt(name, value) == 1 for name, value in _MALLOPT]
    return all(taken)


def _libc() -> ctypes.CDLL | None:
    """The C library of this process; None on Windows, whose `rand()` keeps a state for each thread."""
    if sys.platform == "win32":
        return None
    try:
        libc = ctypes.CDLL(None)
        libc.srand.argtypes = [ctypes.c_uint]
        libc.srand.restype = None
    except (OSError, AttributeError):
        return None
    return libc
