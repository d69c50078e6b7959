"""p2pctl rotate: replace the password of the swarm. Begin, watch who still uses the old one, finish, or go back.

The rule: the new secret comes from a person at each member, and from no command line; an invite is shown once.
"""

from __future__ import annotations

from p2pctl.render import View, note
from p2pctl.secret import read_secret
from p2pctl.units import format_age, parse_count, parse_seconds
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

    from p2pctl.invocation import Invocation
    from p2pctl.render import Output

    Item = dict[str, Any]

EXAMPLES = """
p2pctl rotate
p2pctl rotate --invite
p2pctl rotate --password-file new.txt --overlap 2h
p2pctl rotate --password-file new.txt --overlap 0
p2pctl rotate --status
p2pctl -q rotate --status | wc -l
p2pctl rotate --finish
p2pctl rotate --abort
"""

STEPS = ("status", "finish", "abort")


def arguments(parser: argparse.ArgumentParser) -> None:
    step = parser.add_mutually_exclusive_group()
    step.add_argument("--password-file", metavar="FILE", help="the new password; only you may read the file")
    step.add_argument("--password-fd", metavar="N", type=int, help="read it from this descriptor")
    step.add_argument("--invite", action="store_true", help="make a new random secret, and print it once")
    step.add_argument("--status", action="store_true", help="who still uses the old password")
    step.add_argument("--finish", action="store_true", help="the old password ends now")
    step.add_argument("--abort", action="store_true", help="go back to the old password")
    parser.add_argument(
        "--overlap",
        metavar="T",
        type=_overlap,
        help="how long the old one stays good: 2h, 7d (default 7d), 0",
    )
    parser.add_argument(
        "--epoch",
        metavar="N",
        type=int,
        help="the epoch that the others are at, for a member that missed one",
    )
    parser.add_argument("--allow-weak-password", action="store_true", help="accept under 12 characters")
    parser.add_argument("--all", action="store_true", help="with --status: also who uses the new one")
    parser.add_argument("--limit", metavar="N", type=parse_count, help="with --status: at most N devices")
    parser.add_argument("--cursor", metavar="C", help="with --status: go on after an earlier page")


def _overlap(text: str) -> float:
    return 0.0 if text.strip() in ("0", "0s") else parse_seconds(text)


def run(invocation: Invocation) -> int:
    values, output, client = invocation.values, invocation.output, invocation.client
    step = next((name for name in STEPS if getattr(values, name)), "begin")
    _check(values, step)
    if step == "status":
        if output.human:
            _stand(output, client.call("rotate", {}))
        for page in client.pages("rotate_devices", {"all": values.all}, values.limit, values.cursor):
            output.page(DEVICES, page)
        return output.finish(DEVICES)
    params: Item = {"action": step}
    if step == "begin":
        client.connect()  # nobody types a password for a daemon that is not there
        password = None if values.invite else read_secret(values.password_file, values.password_fd)
        params |= {"password": password, "invite": values.invite, "overlap_s": values.overlap}
        params |= {"epoch": values.epoch, "allow_weak": values.allow_weak_password}
    item = client.call("rotate", params)
    view = _view(COLUMNS, "invite" if values.invite else "epoch", _changed if step == "begin" else _ended)
    output.show(view, [item])
    return output.finish(view)


def _check(values: argparse.Namespace, step: str) -> None:
    """Options that belong to another step. Raises Fault usage."""
    if step != "begin" and (values.overlap is not None or values.epoch is not None):
        raise Fault("usage", f"--overlap and --epoch are for a rotation that begins, not for --{step}")
    if step != "status" and (values.all or values.limit or values.cursor):
        raise Fault("usage", "--all, --limit and --cursor need --status")


# -- for people -------------------------------------------------------------------------------------------


def _stand(output: Output, item: Item) -> None:
    """How it stands, above the table of devices."""
    key = ("key", f"epoch {item['epoch']}, key check {item['key_check']}")
    if item["state"] == "none":
        output.fields([key])
        note("no rotation is under way")
        return
    old = f"epoch {item['previous_epoch']}, key check {item['previous_key_check']}, good until {item['ends_at']}"
    output.fields(
        [
            key,
            ("old", old),
            ("seen", f"{item['devices_old']} with the old key, {item['devices_new']} with the new one"),
        ]
    )


def _changed(output: Output, items: list[Item]) -> None:
    for item in items:
        if item.get("invite"):
            output.line(str(item["invite"]))
            note(
                "p2pctl: this is the only time that the new secret is shown; give it to every member that stays"
            )
        if not item["changed"]:
            output.line(f"This rotation is under way already: epoch {item['epoch']}")
            continue
        output.line(f"New key of epoch {item['epoch']}, key check {item['key_check']}")
        if item["state"] == "none":
            output.line("The old key has ended here")
        else:
            output.line(f"The old one stays good until {item['ends_at']}")
        note(
            "  hint: run p2pctl rotate with the same new secret at every other member; --status shows who is missing"
        )


def _ended(output: Output, items: list[Item]) -> None:
    for item in items:
        if not item["changed"]:
            note("no rotation is under way")
            continue
        output.line(f"One key again: epoch {item['epoch']}, key check {item['key_check']}")


def _table(output: Output, items: list[Item]) -> None:
    rows = []
    for item in items:
        device = str(item["device_id"]) + (" (this device)" if item.get("self") else "")
        rows.append(
            [str(item["host"]), str(item["state"]), format_age(str(item["seen_at"]), output.now), device]
        )
    output.table(("HOST", "KEY", ">SEEN", "DEVICE"), rows)


COLUMNS = (
    "state",
    "epoch",
    "key_check",
    "previous_epoch",
    "ends_at",
    "devices_old",
    "devices_new",
    "changed",
    "invite",
)
BEGAN = ("network", "previous_key_check", "began_at")
DEVICE = ("device_id", "host", "self", "state", "seen_at", "ends_at")
ALL = tuple(dict.fromkeys((*COLUMNS, *BEGAN, *DEVICE)))


def _view(columns: tuple[str, ...], quiet: str, human: Callable[[Output, list[Item]], None]) -> View:
    return View(columns, quiet, human, more=[name for name in ALL if name not in columns])


VIEW = _view(("state", "epoch", "key_check", "ends_at"), "epoch", _changed)
"""What each item of this command has; the steps and --status show more."""
DEVICES = _view(DEVICE, "device_id", _table)
