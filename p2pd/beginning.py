"""How a daemon begins that was told nothing or little: `p2pd` without a command, and `p2pd init`.

The rule: without a terminal nothing is asked. What is asked and made is in p2pd/firstrun.py; this module says when, and tells what came
of it. It starts nothing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from p2pd import config, firstrun, kinds, layers, lock, printing, secrets
from p2pd.firstrun import Made
from protocol.display import safe
from protocol.errors import Fault

INTERRUPTED = 130  # 128 + SIGINT


def bare() -> list[str] | None:
    """The words that `p2pd` alone stands for: what the settings say; without any, on a terminal, what the first run found out. None
    when there is neither, an empty list when it was left. Raises Fault."""
    asking = sys.stdin.isatty() and sys.stdout.isatty()
    file, _ = config.file_path({}, os.environ)
    if not (file.exists() or "P2PD_DAEMON_ROLE" in os.environ):
        return _first_run(file) if asking else None
    role = str(config.gather("peer", {}, os.environ).value("daemon.role"))
    if not role:
        raise Fault(
            "usage",
            f"{file} does not say what to run",
            'role = "peer" or role = "tracker" under [daemon] says it; or use p2pd peer, p2pd tracker',
        )
    home = config.load(role, {}, os.environ).home
    if asking and (pid := lock.holder(home)):
        print(
            f"A {role} runs already (pid {pid}), as {file} says. This is for another daemon; Ctrl-C leaves."
        )
        return _first_run(None)
    return [role]


def _first_run(file: Path | None) -> list[str]:
    """Asks and makes; without a file of settings when there is one already."""
    try:
        plan = firstrun.ask(firstrun.Terminal(), _environment())
    except (EOFError, KeyboardInterrupt):
        _stopped()
        return []
    made = firstrun.make(plan, file)
    _tell(made)
    if made.file is not None:
        print("The next time: p2pd")
    else:
        print(f"The next time: {shlex.join(['p2pd', *plan.words()])}")
    if plan.role == "peer":
        print("In another terminal: p2pctl", flush=True)
    return [plan.role] if made.file is not None else plan.words()


def init(args: argparse.Namespace) -> int:
    """p2pd init, as p2pd/cli.py reads it; the exit status. Raises Fault."""
    values = {
        name: config.KEYS[name].read(value, "--" + name.rpartition(".")[2].replace("_", "-"))
        for name, value in vars(args).items()
        if name in config.KEYS and value is not None and not name.startswith("password.")
    }
    for name in ("daemon.home", "daemon.socket"):  # the file may be read in another directory
        if values.get(name):
            values[name] = str(kinds.absolute(values[name]))
    values = {**_environment(), **values}
    if args.role == "tracker" and (values.keys() & {"peer.trackers", "peer.with_tracker"}):
        raise Fault("usage", "a tracker has no tracker", "--tracker and --with-tracker are for --role peer")
    asking = not args.json and args.role is None and sys.stdin.isatty() and sys.stdout.isatty()
    source = secrets.PasswordSource(
        file=getattr(args, "password.file") or "",
        fd=args.password_fd,
        command=getattr(args, "password.command") or "",
    )
    password = "" if args.invite else secrets.given(source, os.environ)
    file, _ = config.file_path(vars(args), os.environ)
    if not args.force and os.path.lexists(file):
        hint = "--force writes a new one and keeps the old one beside it"
        raise Fault("exists", f"there is already {file}", hint)
    weak = {"allow_weak": bool(getattr(args, "password.allow_weak")), "epoch": args.epoch}
    if asking:
        try:
            plan = firstrun.ask(firstrun.Terminal(), values, password, args.listen, force=args.force, **weak)
        except (EOFError, KeyboardInterrupt):
            return _stopped()
    else:
        plan = firstrun.given(args.role, values, password, args.listen, **weak)
    made = firstrun.make(plan, file, force=args.force, new=args.invite)
    if args.json:
        item = {"role": plan.role, "config_file": str(file), "home": str(plan.home)}
        old = None if made.moved is None else str(made.moved)
        printing.document("init", {**item, "invite": made.invite or None, "old_file": old})
        if made.trouble is not None:
            raise made.trouble
        return 0
    _tell(made)
    alone = file == config.file_path({}, os.environ)[0]
    print(f"Start it with: {'p2pd' if alone else shlex.join(['p2pd', plan.role, '--config', str(file)])}")
    return 0


def _environment() -> dict[str, Any]:
    """What the environment says of the place and the network, which is true of the file that is made, too. Raises Fault usage."""
    problems: list[layers.Problem] = []
    layer = layers.from_environment(os.environ, config.KEYS, problems)
    if problems:
        raise layers.fault(problems)
    return {name: layer[name].value for name in ("daemon.home", "daemon.network") if name in layer}


def _stopped() -> int:
    print("\np2pd: stopped; nothing was written", file=sys.stderr)
    return INTERRUPTED


def _tell(made: Made) -> None:
    """Says what was made. A new secret comes first, whatever else went wrong: it is told now or never."""
    if made.invite is not None:
        print("The secret of the new swarm, shown this once; every other machine needs it:\n")
        print(f"  {made.invite}\n", flush=True)
    if made.trouble is not None:
        raise made.trouble
    if made.moved is not None:
        print(f"The old settings are now {safe(str(made.moved))}")
    if made.file is not None:
        print(f"Settings are in {safe(str(made.file))}.", flush=True)
