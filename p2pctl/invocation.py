"""One run of one command: its values, its output, its connection, and what to say when a signal ends it.

The rule: everything a command module needs comes through here, and each part is made when first used. Knows
no command.
"""

from __future__ import annotations

from p2pctl.client import Client, socket_paths
from p2pctl.exitcodes import TERMINATED
from p2pctl.progress import Silent, make
from p2pctl.render import SHAPES, Output
from p2pctl.units import parse_seconds
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from types import FrameType

    from p2pctl.session import Session


class Invocation:
    """What a command's `run` gets. `now` is the time for ages, in seconds since 1970 UTC; `session` is there when
    the process runs more than this one command.
    """

    def __init__(
        self,
        command: str,
        values: argparse.Namespace,
        environ: Mapping[str, str],
        now: float,
        session: Session | None = None,
    ) -> None:
        self.values = values
        self.session = session
        self.environ = environ
        self.color = not (values.no_color or environ.get("NO_COLOR") or environ.get("TERM") == "dumb")
        shape = next((name for name in SHAPES if getattr(values, name)), "human")
        self.output = Output(command, shape, verbose=values.verbose, color=self.color, now=now)
        self.output.choose(values.columns, values.header)
        if session is not None:
            self.output.listener = session.heard
            self.output.numbered = session.numbered
        self.progress: Silent = make(values.progress, values.quiet, self.color)
        self.timeout_s = _timeout(values, environ)
        """--timeout, else P2PCTL_TIMEOUT, else None."""
        self.goes_on: tuple[str, str] | None = None
        """Message and hint for a signal that ends the wait for work that goes on."""
        self._client: Client | None = None
        self._restore: Callable[[], object] | None = None

    @property
    def client(self) -> Client:
        if self._client is None:
            if self.session is None:
                self._client = self.new_client(self.timeout_s)
            else:
                self._client = self.session.client(self._paths, self.timeout_s)
        return self._client

    def new_client(self, timeout_s: float | None) -> Client:
        """A connection of its own, for commands that try again."""
        return Client(self._paths, timeout_s)

    @property
    def _paths(self) -> list[str]:
        return socket_paths(self.values.socket, self.values.home, self.environ)

    def waiting(self, message: str, hint: str) -> None:
        """From now on work goes on in the daemon whatever ends this process: say so if a signal does."""
        from signal import SIGTERM, signal

        self.goes_on = (message, hint)
        try:
            previous = signal(SIGTERM, terminate)
        except ValueError:
            return  # not in the main thread: whoever runs us there handles its signals
        if self._restore is None:
            self._restore = lambda: signal(SIGTERM, previous)

    def close(self) -> None:
        """Remove the bar, drop the connection unless it is the session's, give SIGTERM back."""
        self.progress.close()
        if self._client is not None and self.session is None:
            self._client.close()
        if self._restore is not None:
            self._restore()


def _timeout(values: argparse.Namespace, environ: Mapping[str, str]) -> float | None:
    """Raises Fault usage."""
    given = values.timeout is not None
    text = values.timeout if given else environ.get("P2PCTL_TIMEOUT")
    if not given and not text:
        return None
    try:
        return parse_seconds(text or "")
    except Fault as fault:
        name = "--timeout" if given else "P2PCTL_TIMEOUT"
        raise Fault(fault.code, f"{name}: {fault.message}", fault.hint) from fault


def terminate(number: int, frame: FrameType | None) -> None:
    """A handler for SIGTERM: the command ends with its status."""
    raise SystemExit(TERMINATED)
