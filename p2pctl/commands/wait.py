"""p2pctl wait ID...: until downloads are done; the exit status is theirs."""

from __future__ import annotations

from p2pctl import transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from p2pctl.invocation import Invocation

EXAMPLES = """
p2pctl wait t-118
t=$(p2pctl -q download big.iso --no-wait); p2pctl -q wait "$t"
p2pctl wait t-118 t-119 --timeout 1h
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("transfers", metavar="ID", nargs="+", help="transfer, such as t-118")


def run(invocation: Invocation) -> int:
    transfers: list[str] = invocation.values.transfers
    transfer.await_all(invocation, [(name, name, name) for name in transfers], len(transfers))
    return invocation.output.finish(transfer.FINISHED, len(transfers))
