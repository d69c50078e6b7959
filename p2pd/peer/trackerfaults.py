"""What went wrong with a tracker, in words for people and codes for scripts. Pure."""

from __future__ import annotations

from p2pd.net.addresses import Endpoint
from p2pd.net.dealer import Lost
from protocol.display import safe
from protocol.errors import Fault, Refusal, refusal_text
from protocol.limits import BAN_TOLD_SECONDS
from protocol.tracker import Refused


def refused(endpoint: Endpoint, reply: Refused) -> Fault:
    """A request that the tracker answered with a refusal."""
    detail = safe(reply.text) or refusal_text(reply.code)
    hint = f"try again in {reply.retry_s} s" if reply.retry_s else ""
    code = "usage" if reply.code == Refusal.BAD_REQUEST else "refused"
    return Fault(code, f"the tracker at {endpoint} refused: {detail}", hint)


def judge(endpoint: Endpoint, lost: Lost, refused_before: bool = False) -> tuple[str, Fault]:
    """The state of a tracker whose link ended so (see TrackerClient), and what a person is told. With `refused_before` it refused the
    same key lately, and has not listened to it this time."""
    if lost.code == "auth" or refused_before:
        return "wrong_password", _wrong_key(endpoint, lost)
    if lost.refusal == Refusal.BANNED:
        return "refused", _banned(endpoint, lost)
    if lost.code == "refused" and lost.refusal not in (Refusal.BUSY, Refusal.LIMIT, Refusal.CLOSING):
        return "refused", Fault(
            "refused", f"the tracker refused: {lost.text}", f"next try in {lost.retry_s} s"
        )
    return "unreachable", Fault(
        "network",
        f"no tracker answers at {endpoint}: {lost.text}",
        "is `p2pd tracker` running there, and does a firewall let its port through?",
    )


def _wrong_key(endpoint: Endpoint, lost: Lost) -> Fault:
    """In the hint: what to do, and for how long the tracker takes no other try, if it says so."""
    if lost.refusal == Refusal.UNKNOWN_NETWORK:
        hint = "if the password of the swarm was replaced, give the new one with p2pctl rotate; else compare the network of `p2pctl status`"
    else:
        hint = "compare the key check of `p2pctl status` on both machines; start `p2pd peer --ask-password` to type it again"
    details: dict[str, object] = {}
    if lost.retry_s:
        hint += f"; after several wrong ones the tracker takes none from here{_for(lost.retry_s)}"
        details["retry_s"] = lost.retry_s
    return Fault("auth", f"the tracker at {endpoint} uses another password or network name", hint, details)


def _for(seconds: int) -> str:
    """How long a ban still lasts, in words that follow a sentence."""
    if seconds > BAN_TOLD_SECONDS:
        return ", for 18 hours or more"
    return f", for {seconds} s from now" if seconds else ""


def _banned(endpoint: Endpoint, lost: Lost) -> Fault:
    """A reason is told only to a device that proved itself (`banned`); a network is refused before that."""
    left = _for(lost.retry_s)
    reason = f": {safe(lost.text)}" if lost.code == "banned" and lost.text else ""
    return Fault(
        "refused",
        f"the tracker at {endpoint} has banned this device or its network{left}{reason}",
        "whoever runs it can lift that with p2pctl unban"
        if lost.code == "banned"
        else "several tries with a wrong password do that too: compare the key check of `p2pctl status` on both machines;"
        " or whoever runs it banned the network, and can lift that with p2pctl unban",
        {"retry_s": lost.retry_s},
    )
