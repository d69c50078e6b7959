"""The command line's front door: the table of commands, help, and every way a run can end.

The rule: only the chosen command's module is imported, and whatever happens becomes one exit status of the
published table, with its reason on stderr and no traceback. A new command is a line here and a module with
EXAMPLES, `arguments(parser)` and `run(invocation) -> int`.
"""

from __future__ import annotations

import os
import sys
import time

from p2pctl import args
from p2pctl.exitcodes import BROKEN_PIPE, INTERRUPTED, OK
from protocol.errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from p2pctl.invocation import Invocation
    from p2pctl.session import Session

COMMANDS: dict[str, dict[str, str]] = {
    "share": {
        "add": "share files and folders with the swarm",
        "remove": "stop sharing files or folders; the files themselves stay",
        "list": "list the files and folders this device shares",
        "verify": "read files again, and repair what is damaged",
        "rescan": "look for new, changed and vanished files in shared folders",
    },
    "find": {
        "search": "find files of the swarm by name",
        "all_files": "list everything the swarm shares",
        "info": "tell all that is known of a file",
    },
    "fetch": {
        "download": "fetch files from all who hold them",
        "want": "download something as soon as somebody has it",
        "wants": "list what is wanted and not there yet",
        "unwant": "give up what is wanted",
        "transfers": "list downloads, newest first",
        "wait": "wait until downloads are over",
        "pause": "stop downloads until they are resumed",
        "resume": "let paused downloads go on",
        "retry": "try failed downloads again",
        "cancel": "give up downloads",
    },
    "swarm": {
        "peers": "list the devices of the swarm, or those that hold a file",
        "rotate": "replace the password of the swarm, to leave somebody behind",
        "tracker": "look into the tracker that this daemon is, and let it forget",
        "ban": "keep a device or a network out",
        "unban": "let a device or a network in again",
        "bans": "list who is kept out",
    },
    "control": {
        "limit": "show or set the limits of bandwidth",
        "status": "tell how the daemon is doing",
        "logs": "show the last lines of the daemon's log, and those that follow",
        "config": "show and change the settings of the daemon",
        "reload": "let the daemon read its settings again",
        "events": "show what happens in the daemon, as it happens",
        "ping": "check that the daemon answers",
        "doctor": "look for what is wrong, and say what to do",
        "shutdown": "stop the daemon",
    },
    "tools": {
        "completion": "print the script that completes command lines in a shell",
        "batch": "run command lines from a file or standard input",
        "shell": "type commands at a prompt",
        "help": "explain a command",
        "version": "print the version",
    },
}
"""Group -> command -> one line of help. The module of a command is p2pctl.commands.COMMAND."""

ALIASES = {"all-files": "all_files"}

ABOUT = "Speak with the p2pd that runs on this machine."
OPTIONS = "--json --jsonl --tsv -q -v --timeout S --socket PATH --home DIR --progress MODE"
COMMAND_HELP = "p2pctl help COMMAND explains a command and shows examples."


def summaries() -> dict[str, str]:
    """Command -> one line of help."""
    return {name: text for group in COMMANDS.values() for name, text in group.items()}


def find(command: str) -> tuple[str, Any]:
    """The name (an alias is replaced) and the module of a command. Raises Fault usage for an unknown one."""
    known = summaries()
    name = ALIASES.get(command, command)
    if name not in known:
        from protocol.nearest import nearest

        near = nearest(command, known)
        hint = f"did you mean: p2pctl {near}" if near else "p2pctl help lists the commands"
        raise Fault("usage", f"there is no command {command!r}", hint)
    from importlib import import_module

    return name, import_module(f"p2pctl.commands.{name}")


def load(command: str) -> tuple[Any, argparse.ArgumentParser]:
    """The module of a command and its parser. Raises Fault usage for an unknown command."""
    name, module = find(command)
    parser = args.parser(name, summaries()[name], module.EXAMPLES)
    module.arguments(parser)
    return module, parser


def overview() -> str:
    """The help for everything, from the table."""
    lines = ["usage: p2pctl [OPTION]... COMMAND [ARGUMENT]...", "", ABOUT, ""]
    for group, commands in COMMANDS.items():
        for name, text in commands.items():
            lines.append(f"{group:<9} {name:<10} {text}")
            group = ""
    lines += ["", f"options for every command: {OPTIONS}", COMMAND_HELP, ""]
    return "\n".join(lines)


def program() -> NoReturn:
    """p2pctl as a process: `main`, and the end of the process with its status."""
    status = main()
    if not {"threading", "atexit"} & sys.modules.keys():
        # Nothing has to be done before the end, and the interpreter needs 3 ms of 25 to take itself apart.
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:  # told already, or nobody is there to be told
            pass
        os._exit(status)
    sys.exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. Raises nothing (unless P2PCTL_DEBUG is set)."""
    words = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:  # the caller closed it (`>&-`): what is written there fails, as on a full disk
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        status = _guarded(words, None)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard()
        return BROKEN_PIPE
    except OSError as error:
        _discard()
        return _report(_io(error), words)


def run_line(words: Sequence[str], session: Session) -> int:
    """Run one command line of several in this process; returns the exit status it would have as a process.

    What fails is reported as always. INTERRUPTED and TERMINATED are of a signal that came while it ran. Raises BrokenPipeError when nobody
    reads stdout any more, and nothing else (unless P2PCTL_DEBUG is set).
    """
    try:
        status = _guarded(words, session)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        return _report(_io(error), words, session)


def _guarded(words: Sequence[str], session: Session | None) -> int:
    """One command line, whatever happens. Raises BrokenPipeError and OSError: only the caller knows what becomes of stdout."""
    try:
        return _run(words, session)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Fault as fault:
        return _report(fault, words, session)
    except OSError:
        raise
    except (
        Exception
    ) as error:  # a person gets a line and a status, whatever went wrong; a traceback only on request
        if os.environ.get("P2PCTL_DEBUG"):
            raise
        message = f"p2pctl did not expect this: {type(error).__name__}: {error}"
        return _report(Fault("failure", message, "P2PCTL_DEBUG=1 shows where it happened"), words, session)


def _io(error: OSError) -> Fault:
    return Fault("storage", f"input or output failed: {error.strerror or error}")


def _run(words: Sequence[str], session: Session | None) -> int:
    command, rest = args.split(words)
    if command is None and args.asked(rest, "--version"):
        command = "version"
        rest.remove("--version")
    if command is None:
        if args.asked(rest, "-h", "--help"):
            sys.stdout.write(overview())
            return OK
        if session is None and sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
            command = "shell"
    if command is None:
        raise Fault("usage", "no command was given", "p2pctl help lists the commands")
    name, module = find(command)
    values: Any = args.plain(rest) if session is None and module.arguments is args.nothing else None
    if values is None:
        module, parser = load(command)
        if args.asked(rest, "-h", "--help"):
            sys.stdout.write(parser.format_help())
            return OK
        values = args.parse(parser, rest)
        if values.columns is not None:
            if not hasattr(module, "VIEW"):
                raise Fault("usage", f"{command} has no columns")
            module.VIEW.check(values.columns.split(","))
        if session is not None:
            session.adopt(name, parser, values)

    from p2pctl.invocation import Invocation

    invocation = Invocation(name, values, os.environ, time.time(), session)
    try:
        status: int = module.run(invocation)
        return status
    except KeyboardInterrupt:
        return _stopped(invocation, INTERRUPTED)
    except SystemExit as stop:
        return _stopped(invocation, int(stop.code or 0))
    finally:
        invocation.close()


def _stopped(invocation: Invocation, status: int) -> int:
    """After a signal: say what goes on all the same; a program is told in any case."""
    invocation.progress.close()
    shape = invocation.output.shape
    if invocation.goes_on is not None or shape in ("json", "jsonl"):
        from p2pctl.render import stopped

        stopped(*(invocation.goes_on or ("interrupted", "")), status, shape)
    return status


def _report(fault: Fault, words: Sequence[str], session: Session | None = None) -> int:
    """Say what failed in the shape that was asked for, known even when the command line was wrong."""
    from p2pctl.render import note, report

    machine = args.asked(words, "--json", "--jsonl")
    if session is not None and session.values is not None:
        machine = machine or session.values.json or session.values.jsonl
    if fault.message == "no command was given" and not machine:
        note(overview().rstrip())
    else:
        report(fault, "json" if machine else "human")
    return fault.exit_status


def _discard() -> None:
    from p2pctl.render import discard_stdout

    discard_stdout()
