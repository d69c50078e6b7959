"""Where the time of a transfer goes: each part alone, in milliseconds for 1 MiB: python bench/parts.py [--size 512M] [--json].

CPU time of one thread (for send and receive: of the whole process, libzmq's own thread included); for the disk also the time that
passed. Blocks of 1 MiB, buffers reused, the context of the daemon. The sums over sender and receiver are what a core each would
need; bench/throughput.py measures what the daemons really take. Reports, never asserts.
"""

from __future__ import annotations

import argparse
import json
import mmap
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import zmq
from blake3 import blake3

from bench.common import GIB, HEADER, MIB, describe, machine, random_file, sealer, touch_memory
from p2pctl.units import parse_size
from p2pd.net.buffers import Buffers
from p2pd.net.context import make_context, tune_malloc
from p2pd.net.options import Kind, apply
from protocol.fernet import (
    IV_SIZE,
    PLAIN_AT,
    Opening,
    Sealing,
    TokenKey,
    open_all,
    room_to_open,
    seal_all,
    token_size,
)
from protocol.lanes import STEP

SYNC_OCTETS = 64 * MIB
WINDOW = 8  # blocks asked for and not yet received, as a download of that speed has
ROUNDS = 3
SEAL, OPEN = f"seal, {STEP} at a time", f"open, {STEP} at a time"
SENDER = ("read", SEAL, "send")
RECEIVER = ("receive", OPEN, "BLAKE3", "write")


def per_block(work: Callable[[], object], count: int) -> float:
    """CPU milliseconds of one call, on this thread."""
    work()
    began = time.thread_time()
    for _ in range(count):
        work()
    return (time.thread_time() - began) / count * 1000


def read(path: Path, count: int) -> float:
    """preadv from the page cache into one buffer."""
    buffer = memoryview(bytearray(MIB))
    fd = os.open(path, os.O_RDONLY)
    try:
        offsets = iter([0, *range(0, count * MIB, MIB)])
        return per_block(lambda: os.preadv(fd, [buffer], next(offsets)), count)
    finally:
        os.close(fd)


def open_token(count: int) -> float:
    """HMAC and decryption of a block's token into one buffer."""
    key = TokenKey(os.urandom(32))
    token = bytearray(token_size(len(HEADER) + MIB))
    key.seal_parts(memoryview(token), (HEADER, os.urandom(MIB)), os.urandom(IV_SIZE), 0)
    out = memoryview(bytearray(room_to_open(len(token))))
    return per_block(lambda: key.open_into(token, out), count)


def together(count: int) -> dict[str, float]:
    """Sealing and opening as a daemon does both: lanes.STEP blocks at a time, each in a buffer of its own."""
    key = TokenKey(os.urandom(32))
    plain = len(HEADER) + MIB
    tokens = [memoryview(bytearray(token_size(plain))) for _ in range(STEP)]
    for token in tokens:
        key.lay_head(token, os.urandom(IV_SIZE), 0)
        token[PLAIN_AT : PLAIN_AT + plain] = os.urandom(plain)
    sealing = [Sealing(key, token, plain) for token in tokens]
    outs = [memoryview(bytearray(room_to_open(len(token)))) for token in tokens]
    opening = [Opening(key, token, out) for token, out in zip(tokens, outs, strict=True)]
    found = {
        SEAL: per_block(lambda: seal_all(sealing), count // STEP) / STEP,
        OPEN: per_block(lambda: open_all(opening), count // STEP) / STEP,
    }
    if None in open_all(opening):
        raise RuntimeError("a token that was made cannot be opened")
    return found


def hashed(count: int) -> float:
    """BLAKE3 of a block."""
    block = os.urandom(MIB)
    return per_block(lambda: blake3(block).digest(), count)


def write(path: Path, count: int, flag: int) -> tuple[float, float, float]:
    """pwrite into a new file (CPU, time passed), and fdatasync after each 64 MiB (time passed)."""
    block = memoryview(mmap.mmap(-1, MIB))
    block[:] = os.urandom(MIB)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | flag, 0o600)
    try:
        os.ftruncate(fd, count * MIB)
        cpu = passed = synced = 0.0
        for at in range(0, count * MIB, MIB):
            began, wall = time.thread_time(), time.perf_counter()
            os.pwrite(fd, block, at)
            cpu += time.thread_time() - began
            passed += time.perf_counter() - wall
            if (at + MIB) % SYNC_OCTETS == 0:
                wall = time.perf_counter()
                os.fdatasync(fd)
                synced += time.perf_counter() - wall
        return cpu / count * 1000, passed / count * 1000, synced / count * 1000
    finally:
        os.close(fd)
        path.unlink()


def writes(path: Path, count: int) -> dict[str, float]:
    """Through the page cache, and past it as large downloads go (docs/decisions/0007-unbuffered-writes.md)."""
    cached = write(path, count, 0)
    found = {
        "write": cached[0],
        "write, cached (CPU)": cached[0],
        "fdatasync, cached (time passed)": cached[2],
    }
    try:
        direct = write(path, count, os.O_DIRECT)
    except OSError:
        return found  # as tmpfs of some kernels
    more = {"write, unbuffered (time passed)": direct[1], "fdatasync, unbuffered (time passed)": direct[2]}
    return found | {"write": direct[0]} | more


def _serve(pipe: Any, count: int) -> None:
    """The sending process: sealed octets are not needed, only as many."""
    tune_malloc()
    context = make_context()
    router = context.socket(zmq.ROUTER)
    apply(router, Kind.LISTENER)
    pipe.send(router.bind_to_random_port("tcp://127.0.0.1"))
    size = token_size(len(HEADER) + MIB)
    buffers = Buffers(size, 2 * WINDOW)
    asked = 0
    began = time.process_time()
    while asked < count:
        who, _ = router.recv_multipart()
        asked += 1
        router.send(who, zmq.SNDMORE)
        router.send(buffers.lend(buffers.take(), size), copy=False)
    pipe.send((time.process_time() - began) / count * 1000)
    pipe.recv()
    context.destroy(linger=0)


def network(count: int) -> dict[str, float]:
    """1 MiB messages from a ROUTER to a DEALER over loopback, a window of requests under way."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, count), daemon=True)
    child.start()
    context = make_context()
    dealer = context.socket(zmq.DEALER)
    apply(dealer, Kind.DIALER)
    dealer.connect(f"tcp://127.0.0.1:{ours.recv()}")
    began, passed = time.process_time(), time.perf_counter()
    for _ in range(min(WINDOW, count)):
        dealer.send(HEADER)
    for got in range(count):
        dealer.recv(copy=False)
        if got + WINDOW < count:
            dealer.send(HEADER)
    cpu = (time.process_time() - began) / count * 1000
    passed = (time.perf_counter() - passed) / count * 1000
    sent = ours.recv()
    ours.send("over")
    child.join()
    context.destroy(linger=0)
    return {"send": sent, "receive": cpu, "send and receive (time passed)": passed}


def measure(directory: Path, count: int) -> dict[str, float]:
    """Milliseconds for 1 MiB of each part."""
    source = directory / "source.bin"
    if not source.exists():
        random_file(source, count * MIB)
    return {
        "read": read(source, count),
        "seal": per_block(sealer(), count),
        **network(count),
        "open": open_token(count),
        **together(count),
        "BLAKE3": hashed(count),
        **writes(directory / "target.bin", count),
    }


def table(parts: dict[str, float]) -> Iterator[str]:
    """Lines for people."""
    for name, value in parts.items():
        yield f"{name:<32} {value:6.3f}"
    for side, names in (("sender", SENDER), ("receiver", RECEIVER)):
        total = sum(parts[name] for name in names)
        yield f"{side + ' (' + ' + '.join(names) + ')':<48} {total:6.3f}   at most {MIB / total / 1000:.0f} MB/s on a core"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", type=parse_size, default=512 * MIB, help="octets for each part; default 512M"
    )
    parser.add_argument("--directory", type=Path, help="where files go; default: the temporary directory")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args()
    tune_malloc()
    with tempfile.TemporaryDirectory(prefix="p2pd-bench-", dir=args.directory) as name:
        found = machine(Path(name))
        touch_memory(4 * GIB)
        rounds = [measure(Path(name), args.size // MIB) for _ in range(ROUNDS)]
    parts = {part: statistics.median(taken[part] for taken in rounds) for part in rounds[0]}
    if args.json:
        print(json.dumps({"machine": found, "ms_per_mib": parts}))
        return
    print(describe(found))
    print(f"{args.size / MIB:,.0f} MiB a part, {ROUNDS} rounds, medians; CPU milliseconds for 1 MiB\n")
    print("\n".join(table(parts)))


if __name__ == "__main__":
    main()
