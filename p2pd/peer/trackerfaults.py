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


def judge(endpoint: Endpoint, lost: Lost) -> tuple[str, Fault]:
    """The state of a tracker whose link ended so (see TrackerClient), and what a person is told."""
    if lost.refusal == Refusal.BANNED:
        return "refused", _banned(endpoint, lost)
    if lost.code == "auth":
        other_epoch = lost.refusal == Refusal.UNKNOWN_NETWORK
        return "wrong_password", Fault(
            "auth",
            f"the tracker at {endpoint} uses another password or network name",
            "if the password of the swarm was replaced, give the new one with p2pctl rotate; else compare the network of `p2pctl status`"
            if other_epoch
            else "compare the key check of `p2pctl status` on both machines; restart p2pd with --ask-password to type it again",
        )
    if lost.code == "refused" and lost.refusal not in (Refusal.BUSY, Refusal.LIMIT, Refusal.CLOSING):
        return "refused", Fault(
            "refused", f"the tracker refused: {lost.text}", f"next try in {lost.retry_s} s"
        )
    return "unreachable", Fault(
        "network",
        f"no tracker answers at {endpoint}: {lost.text}",
        "is `p2pd tracker` running there, and does a firewall let its port through?",
    )


def _banned(endpoint: Endpoint, lost: Lost) -> Fault:
    """A reason is told only to a device that proved itself (`banned`); a network is refused before that."""
    left = ""
    if lost.retry_s > BAN_TOLD_SECONDS:
        left = ", for 18 hours or more"
    elif lost.retry_s:
        left = f", for {lost.retry_s} s from now"
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
