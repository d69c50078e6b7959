"""p2pctl wait ID...: until downloads are over, or the first of them; the exit status is theirs."""

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
first=$(p2pctl -q wait --any t-118 t-119)
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("transfers", metavar="ID", nargs="+", help="transfer, such as t-118")
    parser.add_argument("--any", action="store_true", help="until the first of them is over")


def run(invocation: Invocation) -> int:
    transfers: list[str] = invocation.values.transfers
    if invocation.values.any:
        transfer.await_first(invocation, transfers)
        return invocation.output.finish(transfer.FINISHED)
    transfer.await_all(invocation, [(name, name, name) for name in transfers], len(transfers))
    return invocation.output.finish(transfer.FINISHED, len(transfers))


VIEW = transfer.FINISHED
