"""Exit statuses of the process: the published table, the signals, and how several outcomes become one.

The rule: a failure never exits 0, and never with a status that means something else (docs/control-api.md,
"Exit statuses").
"""

from __future__ import annotations

from protocol.errors import EXIT_STATUS, Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OK = EXIT_STATUS["ok"]
INTERRUPTED = 130  # 128 + SIGINT
TERMINATED = 143  # 128 + SIGTERM
BROKEN_PIPE = 141  # 128 + SIGPIPE: what a shell shows for a tool that died of it


def combine(faults: Sequence[Fault], total: int) -> int:
    """The status of a command with `total` arguments of which `faults` failed.

    None failed: 0. All failed for one reason: that reason's status. Otherwise 12 (partial).
    """
    if not faults:
        return OK
    codes = {fault.code for fault in faults}
    if len(faults) == total and len(codes) == 1:
        return faults[0].exit_status
    return EXIT_STATUS["partial"]
