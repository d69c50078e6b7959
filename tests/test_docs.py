"""Documents agree with the code and with each other. `python -m tests.test_docs` rewrites the tables that are made from code."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pctl import cli as p2pctl
from p2pd import cli as p2pd
from p2pd.config import KEYS, default_config_file, default_home, load
from p2pd.events import GAP, LOST, RESTARTED
from p2pd.happenings import ALL
from protocol.errors import EXIT_STATUS
from tests.test_schemas import WITHOUT_DOCUMENT

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "bench/*.md", "p2pd/**/*.md") for path in ROOT.glob(pattern)
)
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
LABELS = ("p2pd/1",)  # looks like a path and is the name of the protocol
UNITS = ("KIB", "MIB", "GIB", "TIB")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """The text without fenced and indented code."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)


# -- tables made from code --------------------------------------------------------------------------------


def limits_table() -> str:
    """The sections of docs/protocol.md, "Limits", from protocol/limits.py."""
    values = runpy.run_path(str(ROOT / "protocol/limits.py"))
    lines: list[str] = []
    for line in read("protocol/limits.py").splitlines():
        if match := re.match(r"# -- ([a-z ]+?) -+$", line):
            lines += ["", f"### {match[1].capitalize()}", "", "| limit | value | meaning |", "|---|---|---|"]
        elif (match := re.match(r"([A-Z][A-Z0-9_]*) = [^#]*(?:# (.*))?$", line)) and match[1] not in UNITS:
            value = values[match[1]]
            if isinstance(value, float) and value == int(value):
                value = int(value)
            lines.append(f"| `{match[1]}` | {value} | {(match[2] or '').strip()} |")
    return "\n".join(lines).strip()


def config_page() -> str:
    """docs/config.md, from KEYS in p2pd/config.py."""
    sections: dict[str, list[str]] = {}
    for name, key in KEYS.items():
        shown = str(key.default).lower() if isinstance(key.default, bool) else str(key.default or "")
        variable = "P2PD_" + name.upper().replace(".", "_")
        row = f"| `{name.partition('.')[2]}` | {f'`{shown}`' if shown else ''} | `{variable}` | {key.applies} | {key.help} |"
        sections.setdefault(name.partition(".")[0], []).append(row)
    tables = "\n".join(
        f"\n## [{section}]\n\n| key | default | environment | applies | meaning |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        for section, rows in sections.items()
    )
    return f"{_CONFIG_HEAD}{tables}\n"


def events_table() -> str:
    """The rows of docs/control-api.md, "events", from p2pd/happenings.py."""
    lines = ["| kind | fields | what happened |", "|---|---|---|"]
    for kind in ALL:
        names = " ".join(f"`{field.name}`" for field in dataclasses.fields(kind))
        lines.append(f"| `{kind.KIND}` | {names} | {' '.join(str(kind.__doc__).split())} |")
    return "\n".join(lines)


_TYPES: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "list[str]": {"type": "array", "items": {"type": "string"}},
    "dict[str, str]": {"$ref": "urn:p2p:common/1#reason", "unevaluatedProperties": False},
}


def events_schema() -> str:
    """docs/schemas/events.json, from the same."""

    def item(kind: str, fields: dict[str, Any], description: str) -> dict[str, Any]:
        properties = {
            "run": {"type": "string"},
            "seq": {"$ref": "urn:p2p:common/1#count"},
            "cursor": {"type": "string", "pattern": "^[0-9a-f]+:[0-9]+$"},
            "time": {
                "type": "string",
                "format": "date-time",
                "pattern": "^[0-9-]{10}T[0-9:]{8}\\.[0-9]{3}Z$",
            },
            "kind": {"const": kind},
            **fields,
        }
        return {
            "type": "object",
            "description": description,
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def of(type: str) -> dict[str, Any]:
        plain = _TYPES[type.removesuffix(" | None")]
        return {"anyOf": [plain, {"type": "null"}]} if type.endswith(" | None") else plain

    items = [
        item(
            kind.KIND,
            {field.name: of(str(field.type)) for field in dataclasses.fields(kind)},
            " ".join(str(kind.__doc__).split()),
        )
        for kind in ALL
    ]
    gap = {"reason": {"enum": [LOST, RESTARTED]}, "missed": of("int | None")}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:p2p:events/1",
        "title": "p2pctl events",
        "$ref": "urn:p2p:document/1",
        "properties": {
            "schema": {"const": "p2p.events/1"},
            "items": {"items": {"$ref": "#/$defs/item"}},
            "next": {"type": "string", "description": "--since of what happens next."},
        },
        "$defs": {"item": {"oneOf": [*items, item(GAP, gap, "events between are not known any more")]}},
    }
    return json.dumps(schema, indent=2) + "\n"


def with_events(document: str) -> str:
    """docs/control-api.md with the kinds of event as they are in the code."""
    begin = document.index("| kind | fields | what happened |")
    end = document.index("\n\n", begin)
    return document[:begin] + events_table() + document[end:]


_CONFIG_HEAD = """\
# Settings

Made from `KEYS` in `p2pd/config.py`; `python -m tests.test_docs` writes this page.

Where a value may come from; the first that gives one wins:

1. a flag: `p2pd tracker --help` and `p2pd peer --help` list them
2. an environment variable, `P2PD_SECTION_KEY`; a list is separated by commas
3. the overlay, `overlay.toml` in the home, which the daemon writes for `p2pctl config set`
4. the file, `p2pd.toml` in the configuration directory (`~/.config/p2pd`), or what `--config` or `P2PD_CONFIG` names; the daemon never
   writes it, but for `p2pd init` and the first run of `p2pd`, which make it where there is none
5. the default

The overlay wins over the file because it is the later word of the same person, and because `p2pctl config set` would otherwise have to fail
for each key that the file has; flags and environment are what a service manager or a script started this very process with, so they
win over both. `p2pctl config list` shows each value and where it comes from. `P2PD_HOME` and `P2PD_SOCKET` are short for the first two
variables. The password itself is never a setting.

```toml
[peer]
listen = "8001"
trackers = ["192.168.1.100"]

[password]
file = "~/secret.txt"
```

`p2pd check` names everything that is wrong (unknown keys too), with file and line, and `p2pd paths` says where everything is.

A key that applies *live* may be changed while the daemon runs: write it into the file and call `p2pctl reload` (or send SIGHUP), or use
`p2pctl config set KEY VALUE` (`KEY -`: from standard input, where ps does not show it). One that applies at *restart* is told as waiting
until then. A file with a mistake changes nothing at all. `p2pctl config unset KEY` takes a value out of the overlay. `daemon.home` cannot
stand in the overlay, for it says where that is.

Without a `home`, a peer keeps its state in `~/.local/state/p2pd/peer` and a tracker in `~/.local/state/p2pd/tracker`;
`XDG_STATE_HOME` moves both.

A rate is octets a second, with K, M or G (powers of 1024). What `p2pctl limit` sets wins over `[limit]`: it is kept in the daemon's
database, not in the file, and `p2pctl limit default` gives it back. What was asked of others before a lower limit still comes.
"""


def with_limits(document: str) -> str:
    """docs/protocol.md with the limits as they are in the code."""
    begin = document.index("\n### ", document.index("\n## Limits\n")) + 1
    end = document.index("\n## ", begin)
    return f"{document[:begin]}{limits_table()}\n{document[end:]}"


def test_the_limits_are_those_of_the_code() -> None:
    document = read("docs/protocol.md")
    assert document == with_limits(document)


def test_the_kinds_of_event_are_those_of_the_code() -> None:
    document = read("docs/control-api.md")
    assert document == with_events(document)
    assert read("docs/schemas/events.json") == events_schema()


def test_each_limit_has_a_row() -> None:
    """One that is wrapped over several lines would lose its reason."""
    values = runpy.run_path(str(ROOT / "protocol/limits.py"))
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| [\d.]+ \|", limits_table(), flags=re.MULTILINE)
    assert sorted(rows) == sorted(name for name in values if name.isupper() and name not in UNITS)


def test_the_settings_are_those_of_the_code() -> None:
    assert read("docs/config.md") == config_page()


def test_the_places_in_the_settings_page_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    page = config_page().replace("~", "/home/me")
    assert f"`{default_home('peer')}`" in page
    assert f"`{default_home('tracker')}`" in page
    assert f"`{default_config_file().parent}`" in page


def test_the_example_of_a_settings_file_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "p2pd.toml"
    path.write_text(config_page().partition("```toml\n")[2].partition("```")[0])
    settings = load("peer", {"config": str(path)}, {})
    assert [endpoint.host for endpoint in settings.trackers] == ["192.168.1.100"]
    assert settings.password_file


# -- links and names --------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """What can be linked to in a document, as forges make it from headings."""
    headings = re.findall(r"^#+ (.+)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(read(name))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_exist(name: str) -> None:
    for path in re.findall(r"`((?:p2pd|p2pctl|protocol|tests|docs|bench|scripts)/[\w/.-]*)`", read(name)):
        if "NAME" not in path and path not in LABELS:
            assert (ROOT / path).exists(), path


def test_documents_that_the_code_names_exist() -> None:
    for package in ("protocol", "p2pd", "p2pctl", "tests", "bench"):
        for path in (ROOT / package).rglob("*.py"):
            for named in re.findall(r"\b(docs/[\w/.-]+\.md)", path.read_text(encoding="utf-8")):
                assert (ROOT / named).exists(), f"{path.name} names {named}"


@pytest.mark.parametrize("name", NAMES)
def test_documents_are_for_everybody(name: str) -> None:
    """No numbers of a list that readers do not have, and no paths of somebody's machine."""
    text = read(name)
    assert re.findall(r"(?<![\w&/#])(?<!download )#\d+\b(?! +[0-9a-f]{8} )|\bissues? \d+", text) == []
    assert re.findall(r"/(?:work|root|tmp)/[\w.]+", text) == []
    assert re.findall(r"\b(?:TODO|FIXME|XXX|PLACEHOLDER|RESULT|BUDGET|TBD)\b", text) == []
    assert re.findall(r"\bchunks?\b", re.sub(r"A \*chunk\* is nothing here", "", text), re.IGNORECASE) == []


def test_the_glossary_is_sorted_and_whole() -> None:
    words = re.findall(r"^\| ([^|]+?) \|", read("docs/glossary.md"), flags=re.MULTILINE)[1:]
    words = [word for word in words if not word.startswith("-")]
    assert words == sorted(words, key=str.lower)
    single = {part for word in words for part in word.split(", ")}
    wanted = {
        *(
            "swarm",
            "tracker",
            "announce",
            "peer",
            "seeder",
            "leecher",
            "share",
            "manifest",
            "content id",
            "piece",
        ),
        *(
            "block",
            "bitfield",
            "credit",
            "session",
            "dialect",
            "record",
            "suite",
            "epoch",
            "lease",
            "revision",
        ),
        *("share epoch", "device id"),
    }
    assert wanted - single == set()


# -- commands ---------------------------------------------------------------------------------------------


def daemon_parsers() -> dict[str, argparse.ArgumentParser]:
    """Commands of p2pd."""
    (action,) = (a for a in p2pd.parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def commands_shown(text: str) -> Iterator[list[str]]:
    """Each command of ours that a document shows: words after `$ `, in code, or alone on an indented line."""
    for line in re.findall(r"(?:^\$ |^ {4}|`|; )(p2p(?:d|ctl) [^`\n]+)", text, flags=re.MULTILINE):
        yield re.split(r"[;)>]", line)[0].split()


def test_the_readme_lists_all_commands() -> None:
    rows = re.findall(r"^\| `(p2pd|p2pctl) (\w+)", read("README.md"), flags=re.MULTILINE)
    assert {word for program, word in rows if program == "p2pd"} == set(daemon_parsers())
    assert {word for program, word in rows if program == "p2pctl"} == set(p2pctl.summaries())


@pytest.mark.parametrize("name", [name for name in NAMES if "decisions" not in name])
def test_commands_and_options_that_are_shown_exist(name: str) -> None:
    daemon = {word: parser.format_help() for word, parser in daemon_parsers().items()}
    overview = p2pctl.overview()
    for program, *words in commands_shown(read(name)):
        while words[:1] and words[0] in ("--home", "-q", "--json"):
            words = words[2:] if words[0] == "--home" else words[1:]
        if not words:
            continue
        command, *rest = words
        if command.isupper():
            continue  # a placeholder: p2pctl WORD
        if program == "p2pd":
            text = daemon[command]
        else:
            text = p2pctl.load(command)[1].format_help() + overview if command[0] != "-" else overview
            rest = words if command[0] == "-" else rest
        for word in rest:
            if word.startswith("--"):
                assert word.strip("[].,:") in text, (program, words)


def test_each_command_has_a_schema_of_what_it_prints() -> None:
    """tests/test_schemas.py looks at what is in them; how to write one is in docs/schemas/README.md."""
    for command in p2pctl.summaries().keys() - WITHOUT_DOCUMENT.keys():
        assert (ROOT / f"docs/schemas/{command}.json").exists(), f"{command} has no schema"


def test_the_readme_opens_with_two_commands() -> None:
    fence = re.search(r"^```sh\n(.*?)^```$", read("README.md"), flags=re.MULTILINE | re.DOTALL)
    assert fence is not None
    assert fence[1].splitlines() == ["make demo", "make test"]
    makefile = read("Makefile")
    assert re.search(r"^demo:", makefile, re.MULTILINE)
    assert re.search(r"^test:", makefile, re.MULTILINE)
    assert read(".ci/run").splitlines()[-1] == "exec make test"


def test_the_exit_statuses_are_those_of_the_code() -> None:
    table = read("docs/control-api.md").partition("### Exit statuses")[2]
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", table, flags=re.MULTILINE)
    assert {code: int(number) for number, code in rows} == EXIT_STATUS


def main() -> None:
    """Writes what is made from code."""
    protocol = ROOT / "docs/protocol.md"
    protocol.write_text(with_limits(protocol.read_text(encoding="utf-8")), encoding="utf-8")
    (ROOT / "docs/config.md").write_text(config_page(), encoding="utf-8")
    control = ROOT / "docs/control-api.md"
    control.write_text(with_events(control.read_text(encoding="utf-8")), encoding="utf-8")
    (ROOT / "docs/schemas/events.json").write_text(events_schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
