"""One run: where its values come from, and that it leaves nothing behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from p2pctl import args
from p2pctl.invocation import Invocation
from protocol.errors import Fault


def invocation(*argv: str, **environ: str) -> Invocation:
    values = args.parse(args.parser("list", "list", ""), argv)
    return Invocation("list", values, environ, 0.0)


@pytest.mark.parametrize(
    ("argv", "shape"),
    [
        ([], "human"),
        (["-q"], "quiet"),
        (["--tsv", "-q"], "tsv"),
        (["--jsonl"], "jsonl"),
        (["--json", "-q"], "json"),
    ],
)
def test_the_shape(argv: list[str], shape: str) -> None:
    assert invocation(*argv).output.shape == shape


def test_the_flag_comes_before_the_environment() -> None:
    assert invocation().timeout_s is None
    assert invocation(P2PCTL_TIMEOUT="2m").timeout_s == 120.0
    assert invocation("--timeout", "5", P2PCTL_TIMEOUT="2m").timeout_s == 5.0
    assert invocation(P2PCTL_TIMEOUT="").timeout_s is None
    for argv, environ, named in (
        ((), {"P2PCTL_TIMEOUT": "soon"}, "P2PCTL_TIMEOUT: 'soon'"),
        (("--timeout", "0"), {"P2PCTL_TIMEOUT": "2m"}, "--timeout: '0'"),
        (("--timeout", ""), {}, "--timeout: ''"),
    ):
        with pytest.raises(Fault) as caught:
            invocation(*argv, **environ)
        assert caught.value.message.startswith(named)


def test_one_client_for_a_run(place: Path) -> None:
    made = invocation("--home", str(place))
    assert made.client is made.client
    assert made.new_client(1.0) is not made.client
    made.close()


def test_sigterm_is_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    made = invocation()
    made.waiting("it goes on", "look")
    made.waiting("it goes on", "look again")
    during = signal.getsignal(signal.SIGTERM)
    made.close()
    assert signal.getsignal(signal.SIGTERM) is before
    assert during is not before
    assert made.goes_on == ("it goes on", "look again")
