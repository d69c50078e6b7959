"""p2pd.net.context: routing ids that differ from run to run, limits that are set, memory that is reused."""

from __future__ import annotations

import subprocess
import sys

import pytest
import zmq

from p2pd.net.context import make_context, seed_libc, tune_malloc

ROUTING_ID = """
import zmq
from p2pd.net.context import make_context
context = make_context() if {seeded} else zmq.Context()
router = context.socket(zmq.ROUTER)
dealer = context.socket(zmq.DEALER)
port = router.bind_to_random_port("tcp://127.0.0.1")
dealer.connect(f"tcp://127.0.0.1:{{port}}")
dealer.send(b"")
assert router.poll(10_000)
print(router.recv_multipart()[0].hex())
context.destroy(linger=0)
"""

MESSAGES = """
import resource, zmq
from p2pd.net.context import tune_malloc
assert not {tuned} or tune_malloc()
context = zmq.Context()
left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
port = left.bind_to_random_port("tcp://127.0.0.1")
right.connect(f"tcp://127.0.0.1:{{port}}")
block = bytearray(1 << 20)
for turn in range(30):
    if turn == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for number in range(8):
        left.send(block)
    frames = [right.recv(copy=False) for number in range(8)]
    del frames
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
context.destroy(linger=0)
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="libc's generator is out of reach")
def test_routing_ids_differ_from_run_to_run() -> None:
    assert seed_libc()
    seeded = {run(ROUTING_ID.format(seeded=True)) for _ in range(3)}
    assert len(seeded) == 3


def test_the_context_has_its_limits() -> None:
    context = make_context(io_threads=2, max_sockets=77)
    assert context.get(zmq.ContextOption.IO_THREADS) == 2
    assert context.get(zmq.ContextOption.MAX_SOCKETS) == 77
    context.term()


def test_small_messages_do_not_keep_their_receive_buffers() -> None:
    context = make_context()
    assert context.get(10) == 0  # ZMQ_ZERO_COPY_RECV
    context.term()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_large_buffers_are_reused() -> None:
    tuned = int(run(MESSAGES.format(tuned=True)))
    plain = int(run(MESSAGES.format(tuned=False)))
    assert tuned < 200 * 256 / 8  # 200 messages of 256 pages
    assert tuned < plain / 2


@pytest.mark.skipif(sys.platform.startswith("linux"), reason="elsewhere only")
def test_tuning_does_nothing_elsewhere() -> None:
    assert not tune_malloc()
