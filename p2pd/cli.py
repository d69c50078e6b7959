"""The command line of the daemon: `p2pd tracker`, `p2pd peer`, and a few words about itself."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from p2pd import printing
from p2pd.parsing import Parser, asked
from protocol.errors import Fault
from protocol.version import CONTROL_VERSION, VERSION, WIRE_VERSION

DESCRIPTION = "Private, encrypted, searchable peer-to-peer file sharing for a group of machines."

INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE

EXAMPLES = """\
examples:
  p2pd                             on a terminal: asks what it must know, then runs; the next time it only runs
  p2pd init                        asks the same and does not run
  p2pd init --role peer --tracker HOST --password-file secret.txt
                                   asks nothing
  p2pd invite > secret.txt && chmod 600 secret.txt
                                   make a secret for a new swarm; give it to every member
  p2pd tracker --password-file secret.txt
  p2pd peer --tracker HOST --password-file secret.txt
  p2pd peer --with-tracker         both in one process; asks for the password
  p2pd peer --tracker localhost --listen 8002 --home ~/second
                                   a second peer on this machine

Then use p2pctl: p2pctl add FILE, p2pctl search WORD, p2pctl download NAME.
"""

REGISTRY_EXAMPLES = """\
FROM and TO are each a file, such as tracker.db in a tracker's home, or postgresql://USER@HOST/DATABASE. Keep the
password of a database in ~/.pgpass (or PGPASSFILE), or name a service: postgresql:///?service=NAME

examples:
  p2pd registry copy ~/.local/state/p2pd/tracker/tracker.db postgresql://p2pd@db.example/p2pd
                                   SQLite to PostgreSQL; then start trackers with --registry and that URL
  p2pd registry copy --continue tracker.db postgresql://p2pd@db.example/p2pd
                                   go on with a copy that was cut short
  p2pd registry copy postgresql://p2pd@db.example/p2pd new-home/tracker.db
                                   and back

The source is read as it is at the moment of the start, also while its tracker runs; what devices change after that they
tell the new tracker by themselves. A target in a file must not be in use.
"""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = Parser(
        "p2pd", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="version", version=f"p2pd {VERSION}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    tracker = commands.add_parser("tracker", help="run the tracker: who is here, who has what, search")
    tracker.add_argument(
        "--listen", dest="tracker.listen", metavar="[HOST:]PORT", help="where to listen (default 9000)"
    )
    tracker.add_argument(
        "--announce", dest="tracker.announce", metavar="HOST", help="the address others should use"
    )
    _registry(tracker)
    _common(tracker)
    peer = commands.add_parser("peer", help="run a peer: share and download")
    peer.add_argument(
        "--tracker",
        dest="peer.trackers",
        metavar="HOST[:PORT]",
        action="append",
        help="a tracker; may be repeated",
    )
    peer.add_argument(
        "--listen", dest="peer.listen", metavar="[HOST:]PORT", help="where to listen (default 8001)"
    )
    peer.add_argument(
        "--announce",
        dest="peer.announce",
        metavar="HOST:PORT",
        help="the address others should use, behind a port forward",
    )
    peer.add_argument(
        "--with-tracker",
        dest="peer.with_tracker",
        action="store_true",
        default=None,
        help="run the tracker too",
    )
    peer.add_argument(
        "--tracker-listen", dest="tracker.listen", metavar="[HOST:]PORT", help="where that tracker listens"
    )
    _registry(peer)
    peer.add_argument(
        "--no-share-downloads",
        dest="peer.share_downloads",
        action="store_false",
        default=None,
        help="do not share what was downloaded",
    )
    for way, to in (("up", "to"), ("down", "from")):
        peer.add_argument(
            f"--limit-{way}",
            dest=f"limit.{way}",
            metavar="RATE",
            help=f"octets a second {to} other peers, such as 500K or 20M (default off; p2pctl limit overrides)",
        )
    _common(peer)
    _json(commands.add_parser("invite", help="print a new random secret for a swarm (128 bits)"))
    init = commands.add_parser(
        "init", help="make the settings and the key of a daemon; asks, unless --role is given"
    )
    _init(init)
    for name, text in (
        ("check", "read the settings, say what is wrong, and stop"),
        ("paths", "print every path in use"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--role",
            choices=("peer", "tracker"),
            help="whose settings (default: daemon.role of the settings, else peer)",
        )
        _json(command)
        _common(command, secrets=False)
    _registry_commands(commands)
    _json(commands.add_parser("version", help="print the version"))
    return top


def _registry_commands(commands: argparse._SubParsersAction[Parser]) -> None:
    """`registry` and its commands."""
    words = "copy what a tracker knows from SQLite to PostgreSQL, or back"
    raw = argparse.RawDescriptionHelpFormatter
    top = commands.add_parser(
        "registry",
        help=words,
        description=words.capitalize() + ".",
        epilog=REGISTRY_EXAMPLES,
        formatter_class=raw,
    )
    sub = top.add_subparsers(dest="action", metavar="COMMAND", parser_class=Parser)
    copy = sub.add_parser(
        "copy",
        help="copy all devices, their shares and all bans",
        epilog=REGISTRY_EXAMPLES,
        formatter_class=raw,
    )
    copy.add_argument("source", metavar="FROM", help="file or URL to read")
    copy.add_argument("target", metavar="TO", help="file or URL to write; made if it is not there")
    how = copy.add_mutually_exclusive_group()
    how.add_argument(
        "--continue",
        dest="resume",
        action="store_true",
        help="TO has some of it: copy what is missing, keep the rest",
    )
    how.add_argument("--replace", action="store_true", help="TO has something: forget all of that first")
    _json(copy)


def _json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON document")


def _init(init: argparse.ArgumentParser) -> None:
    init.add_argument("--role", choices=("peer", "tracker"), help="what this daemon is")
    init.add_argument(
        "--tracker",
        dest="peer.trackers",
        metavar="HOST[:PORT]",
        action="append",
        help="a tracker of a peer; may be repeated",
    )
    init.add_argument(
        "--with-tracker",
        dest="peer.with_tracker",
        action="store_true",
        default=None,
        help="a peer that runs the tracker too",
    )
    init.add_argument("--listen", metavar="[HOST:]PORT", help="where to listen (default 8001, tracker 9000)")
    init.add_argument(
        "--force",
        action="store_true",
        help="although there are settings or a key already; the old file is kept beside the new one",
    )
    init.add_argument("--json", action="store_true", help="one JSON document, and no questions")
    _places(init)
    _secrets(init).add_argument(
        "--invite", action="store_true", help="make a new secret and print it, this one time"
    )


def _registry(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--registry",
        dest="tracker.registry",
        metavar="URL|FILE",
        help="where the tracker keeps what it knows: postgresql://USER@HOST/DATABASE, which several trackers may share, or"
        " a file (default: tracker.db in the home). Keep a password in ~/.pgpass, not in the URL",
    )


def _common(command: argparse.ArgumentParser, *, secrets: bool = True) -> None:
    _places(command)
    if not secrets:
        return
    _secrets(command).add_argument(
        "--ask-password", action="store_true", help="ask again instead of using the kept key"
    )
    log = command.add_argument_group("log")
    log.add_argument(
        "--log-level", dest="log.level", metavar="L", help="debug, info, warning or error (default info)"
    )
    log.add_argument("--log-format", dest="log.format", metavar="F", help="text or json (default text)")


def _places(command: argparse.ArgumentParser) -> None:
    place = command.add_argument_group("places")
    place.add_argument(
        "--config",
        metavar="FILE",
        help="settings in TOML (default: p2pd.toml in the configuration directory)",
    )
    place.add_argument("--home", dest="daemon.home", metavar="DIR", help="keys, state and control socket")
    place.add_argument(
        "--socket", dest="daemon.socket", metavar="PATH", help="control socket (default: in the home)"
    )
    place.add_argument(
        "--network", dest="daemon.network", metavar="NAME", help="name of the swarm (default: default)"
    )


def _secrets(command: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    secret = command.add_argument_group(
        "password",
        "the same for all members; asked at a hidden prompt unless given here or kept from an earlier start",
    )
    source = secret.add_mutually_exclusive_group()
    source.add_argument(
        "--password-file", dest="password.file", metavar="FILE", help="only its owner may read it"
    )
    source.add_argument(
        "--password-fd", dest="password_fd", metavar="N", type=int, help="read it from this descriptor"
    )
    source.add_argument(
        "--password-command", dest="password.command", metavar="CMD", help="run this, take what it prints"
    )
    secret.add_argument(
        "--epoch",
        metavar="N",
        type=int,
        choices=range(256),
        help="the epoch that the password is of, for a device that joins after a rotation (p2pctl rotate --status shows it)",
    )
    secret.add_argument(
        "--allow-weak-password",
        dest="password.allow_weak",
        action="store_true",
        default=None,
        help="accept under 12 characters (tests, demonstrations)",
    )
    return source


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; the exit status."""
    words = sys.argv[1:] if argv is None else argv
    printing.standard_streams()
    try:
        return _run(parser().parse_args(words))
    except Fault as fault:
        printing.report(fault, as_json=asked(words, "--json"))
        return fault.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    finally:
        printing.settle()


def _run(args: argparse.Namespace) -> int:
    command = args.command
    if command is None:
        from p2pd import beginning

        if (words := beginning.bare()) is None:
            parser().print_help(sys.stderr)
            hint = "p2pd peer or p2pd tracker; or p2pd init makes settings that p2pd alone follows"
            raise Fault("usage", "no command and no settings", hint)
        if not words:
            return INTERRUPTED
        return _run(parser().parse_args(words))
    if command == "version":
        if args.json:
            own = {"version": VERSION, "wire_version": WIRE_VERSION, "control_version": CONTROL_VERSION}
            printing.document("version", {"program": "p2pd", **own})
        else:
            printing.say(f"p2pd {VERSION}")
        return 0
    if command == "invite":
        from protocol.keys import make_invite

        invite = make_invite(os.urandom(16))
        if args.json:
            printing.document("invite", {"invite": invite})
            return 0
        printing.say(invite)
        if sys.stdout.isatty():
            print("Every member of the swarm needs it; p2pd asks for it as the password.", file=sys.stderr)
        return 0
    if command == "registry":
        from p2pd import registrycopy

        return registrycopy.run(args)
    if command == "init":
        from p2pd import beginning

        return beginning.init(args)
    from p2pd import config

    if command in ("check", "paths"):
        from p2pd import telling

        return telling.run(command, args.role, vars(args), os.environ, as_json=args.json)
    sources = config.gather(command, vars(args), os.environ)
    config.check_trackers(config.compose(sources))
    return _serve(args, sources)


def _warn_of_secrets(args: argparse.Namespace) -> None:
    from p2pd.kinds import without_password

    registry = getattr(args, "tracker.registry", None)
    if registry != without_password(registry):
        print(
            "p2pd: warning: everybody on this machine can read the password in --registry (ps shows it)\n"
            "  hint: keep it in ~/.pgpass (PGPASSFILE), or set tracker.registry in a file that only you can read",
            file=sys.stderr,
        )


def _serve(args: argparse.Namespace, sources: Any) -> int:
    from p2pd import app, logs, secrets
    from p2pd.applying import open_log_file, register_log
    from p2pd.lock import HomeLock
    from p2pd.notify import Notifier
    from p2pd.supervision import Supervision
    from p2pd.tuning import Tuning

    tuning = Tuning(sources)
    settings = tuning.settings
    _warn_of_secrets(args)
    to_journal = logs.journal(os.environ, 2)
    log = logs.setup(settings.log_level, settings.log_format, sys.stderr, to_journal=to_journal)
    notifier = Notifier(os.environ)
    with HomeLock(settings.home):
        ring = secrets.network_ring(
            settings.home,
            settings.network,
            secrets.PasswordSource(
                file=settings.password_file,
                fd=args.password_fd,
                command=settings.password_command,
                ask=args.ask_password,
                allow_weak=settings.allow_weak_password,
                epoch=args.epoch,
            ),
        )
        device = tracker_device = secrets.load_or_make_device_key(settings.home)
        if settings.role == "peer" and settings.tracker_listen is not None:
            tracker_device = secrets.load_or_make_device_key(settings.home, secrets.TRACKER_DEVICE_FILE)
        open_log_file(log, settings)
        register_log(tuning, log)
        try:
            app.serve(settings, ring, device, tracker_device, Supervision(tuning, log, notifier))
        finally:
            log.finish()
            log.set_file(None)
            notifier.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
