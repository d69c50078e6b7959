"""The manual pages docs/man/*, and docs/reference/*, from the parsers and tables that the programs themselves use.

    python -m scripts.manuals           writes them

The rule: nothing is said here of a command or an option that `--help` does not say; only the frame is this file's. tests/test_manuals.py
holds the pages against it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from p2pctl import args, cli
from p2pd import cli as daemon
from p2pd.config import KEYS
from protocol.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
RELEASE = f"p2pd {VERSION}"
DATE = "2026-11-25"

DESCRIPTION = {
    "p2pctl": [
        "p2pctl shares, finds and downloads files by asking the p2pd that runs on this machine. It does one thing"
        " and ends; the daemon goes on with what was begun.",
        "The answer is on standard output and everything else on standard error. With --json, --jsonl, --tsv and -q"
        " the answer is for programs. A REF is a name, a content id, its first 8 digits or more, name:EXACT or"
        " sha256:HEX.",
    ],
    "p2pd": [
        "p2pd is the daemon of a private swarm: all who have the same password, or the same invite, find and fetch"
        " each other's files, encrypted and verified. One machine runs p2pd tracker, which knows who is here and who"
        " has what; the others run p2pd peer. Both keep their state and the key in a home of their own, and are"
        " spoken to with p2pctl(1).",
    ],
}


@dataclass(frozen=True)
class Option:
    """One option or argument: how it is written, and what it does."""

    names: tuple[str, ...]
    value: str
    help: str

    @property
    def written(self) -> str:
        """`-o FILE`, `--home DIR`, `REF`."""
        names = ", ".join(self.names)
        return f"{names} {self.value}".strip()


@dataclass(frozen=True)
class Command:
    """One command of a program."""

    name: str
    summary: str
    usage: str
    options: list[tuple[str, list[Option]]]  # by heading; the first without one
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """A program and its commands, by group."""

    name: str
    about: str
    synopsis: str
    options: list[Option]
    groups: dict[str, list[Command]]
    examples: list[str]


# -- from the parsers -------------------------------------------------------------------------------------


def option(action: argparse.Action) -> Option | None:
    """What an action is for people; None if it is hidden."""
    if action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction):
        return None
    value = ""
    if action.nargs != 0:
        choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
        value = str(action.metavar or choices or action.dest.upper())
    if not action.option_strings:
        value += {"+": "...", "*": "...", "?": ""}.get(str(action.nargs), "")
        if action.choices and action.metavar:
            value = str(action.metavar)
    return Option(tuple(action.option_strings), value, (action.help or "").replace("%%", "%"))


def sections(parser: argparse.ArgumentParser, without: Iterable[str] = ()) -> list[tuple[str, list[Option]]]:
    """The options of a parser by heading, without those headings that are named."""
    found = []
    for group in parser._action_groups:
        title = "" if group.title in ("positional arguments", "options") else str(group.title)
        shown = [each for action in group._group_actions if (each := option(action)) is not None]
        if shown and title not in without:
            found.append((title, shown))
    return found


def client() -> Program:
    """p2pctl, from its table of commands."""
    everywhere = "options for every command"
    groups = {}
    for group, commands in cli.COMMANDS.items():
        made = []
        for name, summary in commands.items():
            module, parser = cli.load(name)
            usage = parser.format_help().splitlines()[0].removeprefix("usage: ")
            examples = module.EXAMPLES.strip().splitlines()
            made.append(Command(name, summary, usage, sections(parser, {everywhere}), examples))
        groups[group] = made
    common = dict(sections(args.parser("any", "any", "")))[everywhere]
    return Program("p2pctl", cli.ABOUT, "p2pctl [OPTION]... COMMAND [ARGUMENT]...", common, groups, [])


def server() -> Program:
    """p2pd, from its parser."""
    top = daemon.parser()
    sub = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    summaries = {choice.dest: choice.help or "" for choice in sub._choices_actions}
    made = []
    for name, parser in sub.choices.items():
        if name not in summaries:
            continue
        words = [each.written for _, group in sections(parser) for each in group if not each.names]
        usage = " ".join([f"p2pd {name} [OPTION]...", *words])
        made.append(Command(name, summaries[name], usage, sections(parser)))
    options = [each for _, group in sections(top) for each in group]
    text = (top.epilog or "").removeprefix("examples:\n")
    examples = [line.removeprefix("  ") for line in text.splitlines()]
    return Program("p2pd", str(top.description), "p2pd COMMAND [OPTION]...", options, {"": made}, examples)


def statuses() -> list[tuple[str, str]]:
    """Exit status and meaning, from docs/control-api.md."""
    text = (ROOT / "docs/control-api.md").read_text(encoding="utf-8")
    table = text[text.index("### Exit statuses") :]
    rows = re.findall(r"^\| ([\d, ]+) \| ?`?(\w*)`? \| ([^|]+) \|", table, flags=re.MULTILINE)
    return [(number, plain(f"{name}: {meaning}" if name else meaning)) for number, name, meaning in rows]


def plain(text: str) -> str:
    """Markdown without its marks."""
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text).replace("`", "").replace("**", "")


ENVIRONMENT = {
    "p2pctl": {
        "P2PCTL_SOCKET": "control socket of the daemon, as --socket",
        "P2PD_HOME": "state directory of the daemon, as --home",
        "P2PCTL_TIMEOUT": "as --timeout",
        "NO_COLOR": "no colours",
        "P2PCTL_DEBUG": "show a traceback when p2pctl itself fails",
    },
    "p2pd": {
        "P2PD_CONFIG": "the configuration file, as --config",
        "P2PD_SECTION_KEY": "any setting of p2pd.toml(5): P2PD_PEER_LISTEN is listen in [peer]",
        "XDG_CONFIG_HOME, XDG_STATE_HOME": "where configuration and state are, unless told",
    },
}

FILES = {
    "~/.config/p2pd/p2pd.toml": "the configuration file, p2pd.toml(5)",
    "~/.local/state/p2pd/peer, ~/.local/state/p2pd/tracker": "keys, state and the control socket of a daemon",
}


# -- manual pages (man(7)) --------------------------------------------------------------------------------


def roff(text: str) -> str:
    """Text in a manual page: nothing of it is a request or an escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{text}" if text[:1] in (".", "'") else text


def head(name: str, section: int, about: str) -> Iterator[str]:
    """How a page begins."""
    yield f'.TH {roff(name).upper()} {section} "{DATE}" "{roff(RELEASE)}" "p2pd manual"'
    yield ".SH NAME"
    yield f"{roff(name)} \\- {roff(about)}"


def listed(options: Iterable[Option]) -> Iterator[str]:
    """Options as a list of paragraphs with a hanging tag."""
    for each in options:
        names = ", ".join(f"\\fB{roff(name)}\\fR" for name in each.names)
        value = f"\\fI{roff(each.value)}\\fR" if each.value else ""
        yield ".TP"
        yield f"{names} {value}".strip()
        yield roff(each.help)


def pairs(rows: Mapping[str, str] | Iterable[tuple[str, str]]) -> Iterator[str]:
    """The same for words and what they mean."""
    for word, meaning in rows.items() if isinstance(rows, Mapping) else rows:
        yield from (".TP", f"\\fB{roff(word)}\\fR", roff(meaning))


def literal(lines: Iterable[str]) -> Iterator[str]:
    """Lines as they are."""
    yield from (".RS 4", ".nf")
    for line in lines:
        yield roff(line) or "\\&"
    yield from (".fi", ".RE")


def manual(program: Program, see: str, common: str) -> str:
    """A page of section 1. `common`: the heading of the options for all commands."""
    lines = [*head(program.name, 1, program.about.rstrip(".")[:1].lower() + program.about.rstrip(".")[1:])]
    lines += [".SH SYNOPSIS", roff(program.synopsis)]
    lines += [".SH DESCRIPTION", "\n.PP\n".join(map(roff, DESCRIPTION[program.name]))]
    if program.options:
        lines += [f".SH {common}", *listed(program.options)]
    lines.append(".SH COMMANDS")
    for commands in program.groups.values():
        for command in commands:
            lines += [
                f".SS {roff(command.usage)}",
                roff(command.summary[:1].upper() + command.summary[1:]) + ".",
            ]
            for title, options in command.options:
                if title:
                    lines += [".PP", roff(title[:1].upper() + title[1:]) + ":"]
                lines += listed(options)
            if command.examples:
                lines += [".PP", "Examples:", *literal(command.examples)]
    if program.examples:
        lines += [".SH EXAMPLES", *literal(program.examples)]
    lines += [".SH EXIT STATUS", *pairs(statuses())]
    lines += [".SH ENVIRONMENT", *pairs(ENVIRONMENT[program.name])]
    lines += [".SH FILES", *pairs(FILES)]
    lines += [".SH SEE ALSO", roff(see)]
    return "\n".join(lines) + "\n"


def settings_manual() -> str:
    """p2pd.toml(5)."""
    lines = [*head("p2pd.toml", 5, "settings of p2pd")]
    lines += [
        ".SH DESCRIPTION",
        roff(
            "A TOML file. A flag wins over an environment variable, that over what p2pctl config set, that over"
        ),
    ]
    lines += [
        roff("the file, and that over the default. p2pd check says what is wrong with it, with the line.")
    ]
    section = ""
    for name, key in KEYS.items():
        heading, _, word = name.partition(".")
        if heading != section:
            section = heading
            lines.append(f".SH [{roff(section)}]")
        default = str(key.default).lower() if isinstance(key.default, bool) else str(key.default or "")
        lines += [".TP", f"\\fB{roff(word)}\\fR", roff(key.help) + ("" if key.help.endswith(".") else ".")]
        if default:
            lines.append(roff(f"Default: {default}."))
        lines.append(roff("Takes effect at a reload." if key.live else "Takes effect at the next start."))
        lines.append(roff(f"Environment: P2PD_{name.upper().replace('.', '_')}."))
    example = [
        "[peer]",
        'listen = "8001"',
        'trackers = ["192.168.1.100"]',
        "",
        "[password]",
        'file = "~/secret.txt"',
    ]
    lines += [".SH EXAMPLE", *literal(example)]
    lines += [".SH SEE ALSO", roff("p2pd(1), p2pctl(1)")]
    return "\n".join(lines) + "\n"


# -- pages of the site ------------------------------------------------------------------------------------


def cell(text: str) -> str:
    """Text in a table of Markdown."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def table(options: Iterable[Option]) -> Iterator[str]:
    """Options as a table."""
    yield from ("| | |", "|---|---|")
    for each in options:
        written = each.written.replace("|", "\\|")
        yield f"| `{written}` | {cell(each.help)} |"


def reference(program: Program, common: str) -> str:
    """The page of a program."""
    lines = [f"# {program.name}", "", "Made from the program by `python -m scripts.manuals`.", ""]
    lines += [program.about, "", "```text", program.synopsis, "```", ""]
    if program.options:
        lines += [f"## {common}", "", *table(program.options), ""]
    for group, commands in program.groups.items():
        if group:
            lines += [f"## {group.capitalize()}", ""]
        mark = "###" if group else "##"
        for command in commands:
            lines += [
                f"{mark} {command.name}",
                "",
                command.summary[:1].upper() + command.summary[1:] + ".",
                "",
            ]
            lines += ["```text", command.usage, "```", ""]
            for title, options in command.options:
                if title:
                    lines += [title[:1].upper() + title[1:] + ":", ""]
                lines += [*table(options), ""]
            if command.examples:
                lines += ["```text", *command.examples, "```", ""]
    if program.examples:
        lines += ["## Examples", "", "```text", *program.examples, "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def pages() -> dict[str, str]:
    """Path from the root -> what is to be in it."""
    ctl, d = client(), server()
    return {
        "docs/man/p2pctl.1": manual(ctl, "p2pd(1), p2pd.toml(5)", "OPTIONS FOR EVERY COMMAND"),
        "docs/man/p2pd.1": manual(d, "p2pctl(1), p2pd.toml(5)", "OPTIONS"),
        "docs/man/p2pd.toml.5": settings_manual(),
        "docs/reference/p2pctl.md": reference(ctl, "Options for every command"),
        "docs/reference/p2pd.md": reference(d, "Options"),
    }


def main() -> None:
    for name, text in pages().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
