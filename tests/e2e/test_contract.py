"""The client's contract over real daemons: every command in every shape, what they agree on, and what a failure prints.

p2pctl runs in this process (its own processes are in tests/p2pctl/test_process.py and tests/e2e/test_exit_statuses.py): one pair of
daemons serves hundreds of runs. What is right of one command alone is in that command's tests.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pctl import cli
from p2pctl.render import View
from p2pd.cli import parser as daemon_parser
from tests.e2e.conftest import SHAPES, Main
from tests.fakes.frozen import frozen
from tests.fakes.processes import Daemon, Result, make_file
from tests.fakes.schemas import validate_line
from tests.test_schemas import WITHOUT_DOCUMENT

LIFE = """
alice: add {file}
alice: add {file}
alice: add -r {folder} --exclude *.o
alice: add -r {folder} --dry-run
alice: add {dir}/later.bin --no-wait
alice: list
alice: rescan
alice: rescan {folder}
alice: verify {file}
alice: verify --all
alice: info {name}
bob: search {name}
bob: search nothing-at-all
bob: search {name} --sort size --limit 1 --ext bin
bob: all_files
bob: all_files --limit 1
bob: info {name}
bob: peers
bob: peers {name}
bob: download {name} -o {target}
bob: download {name} -o {target} --exists skip
bob: download {name} -o {target} --exists rename --no-wait
bob: download {folder_name} -o {target} --exists overwrite
bob: transfers
bob: transfers --state done --limit 1
bob: wait {transfer}
bob: wait --any {transfer}
bob: pause {transfer}
bob: resume {transfer}
bob: retry {transfer}
bob: cancel {transfer}
bob: cancel --all
bob: events --no-follow --kind transfer.created --kind 'limit.*'
bob: events --since 0 --count 2
bob: limit
bob: limit up 1G
bob: limit up default
alice: ban 203.0.113.0/24 --for 2d --reason rubbish
alice: bans
alice: unban 203.0.113.0/24
alice: unban 203.0.113.0/24
bob: want a-tape-that-comes --ext ogg -o {target}
bob: wants
bob: wants --all --limit 1
bob: unwant --all
alice: tracker status
alice: tracker peers
alice: tracker files {name}
alice: tracker expire
bob: config
bob: config get peer.listen limit.up
bob: config set log.level debug
bob: config unset log.level
bob: reload
bob: logs
bob: logs -n 3 --level info
bob: batch {lines}
bob: want not-there-yet {name}
bob: wants
bob: unwant --all
bob: wants --all
bob: doctor
bob: rotate --status
bob: rotate --status --all
bob: status
alice: status
bob: ping
bob: ping --wait-daemon 5
bob: version
bob: version --daemon
bob: help
bob: help all-files
bob: completion bash
alice: remove {name}
alice: remove {folder_name}
alice: shutdown --no-wait
"""
"""Command lines in order; a shape is put before each. The last ends that daemon, which is started again."""


def view_of(words: list[str]) -> View:
    name = cli.ALIASES.get(words[0], words[0])
    module, _ = cli.load(name)
    if name == "add" and "--dry-run" in words:
        view: View = module.PLAN
    elif name == "download" and "--no-wait" in words:
        view = module.BEGUN
    elif name == "tracker":
        view = getattr(module, {"expire": "EXPIRED"}.get(words[1], words[1].upper()))
    elif name == "rotate":
        view = module.DEVICES
    elif name == "config" and words[1:2] == ["get"]:
        view = module.VALUES
    else:
        view = module.VIEW
    return view


def unescape(cell: str) -> str:
    r"""The text of a cell: \t, \n, \r and \\ stand for what they do in many languages."""
    marks = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\"}
    out, rest = "", cell
    while rest:
        if rest[0] == "\\":
            out, rest = out + marks[rest[:2]], rest[2:]
        else:
            out, rest = out + rest[0], rest[1:]
    return out


def check(shape: str, words: list[str], result: Result) -> None:
    """What holds for any command that did what it should."""
    where = f"{words} {result}"
    assert result.status == 0 or (words == ["doctor"] and result.status == 1), (
        where
    )  # it may find something here
    view = view_of(words)
    if shape == "--json":
        assert result.err == "", where
        assert result.out.count("\n") == 1, where
    elif shape == "--jsonl":
        for line in result.err.splitlines():
            assert validate_line(line)["schema"] == "p2p.warning/1", where
    elif shape == "--tsv":
        for line in result.out.splitlines():
            assert len(line.split("\t")) == len(view.columns), where
    else:
        assert "\x1b" not in result.out + result.err, where
    if shape:
        assert "Traceback" not in result.err
        assert result.out == "" or result.out.endswith("\n"), where


def test_each_command_is_in_the_life_of_the_stage() -> None:
    shown = {line.split()[1] for line in LIFE.strip().splitlines()}
    assert shown.isdisjoint(WITHOUT_DOCUMENT)
    assert shown | WITHOUT_DOCUMENT.keys() == cli.summaries().keys()


@pytest.mark.parametrize("shape", SHAPES, ids=[shape or "human" for shape in SHAPES])
def test_every_command(stage: dict[str, Daemon], run: Main, shape: str) -> None:
    alice, bob = stage.values()
    directory = alice.home.parent / f"of {shape}"
    target = directory / "in\tand\nout"
    folder = directory / f"folder{shape}"
    for path in (folder, target):
        path.mkdir(parents=True)
    name = f"file{shape}.bin"
    make_file(directory / name, 100_000, seed=len(shape))
    make_file(directory / "later.bin", 10, seed=9)
    make_file(folder / "inside", 5000, seed=3 + len(shape))
    make_file(folder / "left.o", 10)
    (directory / "lines").write_text("ping\n")
    places = {
        "dir": directory,
        "file": directory / name,
        "folder": folder,
        "target": target,
        "name": name,
        "folder_name": folder.name,
        "transfer": "-",
        "lines": directory / "lines",
    }
    for line in LIFE.strip().splitlines():
        who, _, words = line.partition(": ")
        argv = [word.format_map(places) for word in shlex.split(words)]
        result = run(stage[who], *([shape] if shape else []), *argv)
        check(shape, argv, result)
        if argv[0] == "transfers":
            places["transfer"] = bob.call("transfers")["items"][0]["transfer"]
        if argv[0] == "download":
            bob.finish(bob.call("transfers")["items"][0]["transfer"])
    assert alice.wait() == 0
    alice.start()
    bob.connected()


@pytest.mark.parametrize(
    "words",
    [
        "list",
        "all_files",
        "search shared",
        "info 'shared 1.bin' 'shared 2.bin'",
        "transfers",
        "peers",
        "help list",
    ],
)
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_the_shapes_say_the_same(shared: dict[str, Daemon], run: Main, who: str, words: str) -> None:
    argv = shlex.split(words)
    view, daemon = view_of(argv), shared[who]
    items = run(daemon, "--json", *argv).items
    if (who, words) != ("alice", "transfers"):
        assert items
    assert [json.loads(line) for line in run(daemon, "--jsonl", *argv).out.splitlines()] == items
    quiet = run(daemon, "-q", *argv)
    assert quiet.out == "".join(f"{item[view.quiet]}\n" for item in items)
    for names in (list(view.columns), [*view.columns, *view.more]):
        got = run(daemon, "--tsv", "--header", "--columns", ",".join(names), *argv)
        head, *rows = got.out.splitlines()
        assert head.split("\t") == names
        for row, item in zip(rows, items, strict=True):
            cells = dict(zip(names, row.split("\t"), strict=True))
            for name, cell in cells.items():
                if name not in item:
                    continue  # shown when it is asked for: search --columns peers
                value = item[name]
                if value is None:
                    assert cell == ""
                elif isinstance(value, str):
                    assert unescape(cell) == value
                else:
                    assert json.loads(unescape(cell)) == value
    assert run(daemon, "--tsv", *argv).out == "".join(
        line + "\n" for line in run(daemon, "--tsv", "--header", *argv).out.splitlines()[1:]
    )


def test_what_is_done_twice_is_done_once(shared: dict[str, Daemon], run: Main, tmp_path: Path) -> None:
    alice, bob = shared.values()
    path = make_file(tmp_path / "once.bin", 1234, seed=77)
    assert [run(alice, "--json", "add", str(path)).items[0]["added"] for _ in range(2)] == [True, False]
    into = str(tmp_path / "in.bin")
    first, again = (run(bob, "--json", "download", "once.bin", "-o", into, "--exists", "skip") for _ in "ab")
    assert (first.items[0]["state"], again.items[0]["state"]) == ("done", "skipped")
    transfer = first.items[0]["transfer"]
    for command in ("pause", "resume", "retry", "cancel"):
        result = run(bob, "--json", command, transfer)
        assert (result.status, result.items[0]["changed"], len(result.document["warnings"])) == (0, False, 1)
    for _ in range(2):
        assert run(bob, "--json", "limit", "down", "3M").items[0]["limit_bytes_per_s"] == 3 << 20
    run(bob, "limit", "default")
    # what is not there cannot be removed again
    assert [run(alice, "remove", "once.bin").status for _ in range(2)] == [0, 4]


ALONE = {"help", "completion", "batch"}
"""Commands that ask no daemon, or others do it for them."""


def test_a_daemon_that_hangs(stage: dict[str, Daemon], run: Main, tmp_path: Path) -> None:
    """--timeout ends every command that would wait for it; afterwards nothing is wrong with it."""
    bob = stage["bob"].connected()
    make_file(tmp_path / "file", 10)
    lines = {line.split()[1]: line.partition(": ")[2] for line in LIFE.strip().splitlines()}
    places = dict.fromkeys(("file", "dir", "folder", "target", "lines"), str(tmp_path))
    places |= {"name": "name", "folder_name": "folder", "transfer": "t-1"}
    with frozen(bob.pid):
        for command in (word for word in lines if word not in ALONE):
            words = [word.format_map(places) for word in shlex.split(lines[command])]
            began = time.monotonic()
            result = run(bob, "--json", "--timeout", "0.1", *words)
            assert time.monotonic() - began < 3.0, words
            if command == "doctor":  # its answer is that
                assert (result.status, result.items[0]["status"]) == (1, "fail")
                continue
            assert (result.status, result.error["code"]) == (6, "timeout"), (words, result)
            # events are an answer without an end: what came until then is one, and `next` where to go on
            assert not result.out or command == "events", (words, result)
    assert run(bob, "ping", "--wait-daemon", "20").status == 0


def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All that take a value, of its commands too."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from options(one)
        elif action.option_strings and action.nargs != 0:
            yield action


def test_no_option_takes_a_secret() -> None:
    """The process table shows every argument to everybody."""
    parsers = [daemon_parser(), *(cli.load(command)[1] for command in cli.summaries())]
    secrets = {
        (action.option_strings[-1], action.metavar)
        for parser in parsers
        for action in options(parser)
        if re.search("password|secret|invite|key", action.option_strings[-1])
    }
    assert secrets == {("--password-file", "FILE"), ("--password-fd", "N"), ("--password-command", "CMD")}


def test_a_ban_by_hand_is_told(stage: dict[str, Daemon], run: Main) -> None:
    bob = stage["bob"].connected()
    asked = ("--json", "events", "--kind", "peer.banned")
    before = run(bob, *asked, "--no-follow").document["next"]
    run(bob, "ban", "198.51.100.0/24", "--for", "1h")
    [told] = run(bob, *asked, "--since", before, "--count", "1").items
    run(bob, "unban", "198.51.100.0/24")
    assert (told["subject"], told["cause"], told["duration_s"]) == ("198.51.100.0/24", "hand", 3600)
