"""The published schemas (docs/schemas), for tests: does what a program printed keep the contract?

The rule: what is checked is what came out of a process or a `main`, never what a test made up; a failure names the place in the document.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from protocol.errors import EXIT_STATUS

DIRECTORY = Path(__file__).resolve().parents[2] / "docs/schemas"
SHARED = ("common", "document", "error", "warning", "progress")
"""Files that are of no one command."""

LINES = {"p2p.error/1": "error", "p2p.warning/1": "warning", "p2p.progress/1": "progress"}
"""Schemas of single lines on stderr -> their files."""

ENDS = 50  # items from each end of a long list that are looked at: validating 100,000 takes minutes


@cache
def load(name: str) -> dict[str, Any]:
    """The schema docs/schemas/NAME.json."""
    path = DIRECTORY / f"{name}.json"
    assert path.exists(), f"there is no {path.relative_to(DIRECTORY.parents[1])}: see docs/schemas/README.md"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def names() -> list[str]:
    """All schemas, without `.json`."""
    return sorted(path.stem for path in DIRECTORY.glob("*.json"))


def file_of(command: str) -> str:
    """`list` of a command's word; `p2pd check` -> `p2pd.check`."""
    return command.replace(" ", ".").replace("-", "_")


@cache
def registry() -> Registry[Any]:
    """Every schema by its $id, so that they find each other without a network."""
    found: Registry[Any] = Registry()
    crawled: Registry[Any] = found.with_resources(
        (load(name)["$id"], Resource.from_contents(load(name))) for name in names()
    ).crawl()  # or each look at an anchor would search them all
    return crawled


@cache
def validator(name: str, part: str = "") -> Draft202012Validator:
    """Of the whole of a schema, or of what is at `part`, such as `/$defs/item`."""
    schema = {"$ref": f"{load(name)['$id']}#{part}"} if part else load(name)
    return Draft202012Validator(schema, registry=registry())


def fields(command: str) -> dict[str, bool]:
    """Each field of an item, and whether it is always there."""
    resolver = registry().resolver(load(file_of(command))["$id"])
    found: dict[str, bool] = {}

    def walk(schema: dict[str, Any], resolver: Any) -> None:
        if "$ref" in schema:
            resolved = resolver.lookup(schema["$ref"])
            walk(resolved.contents, resolved.resolver)
        for name in schema.get("properties", {}):
            found[name] = found.get(name, False) or name in schema.get("required", ())
        kinds = schema.get("oneOf", ())
        for kind in kinds:
            for name in kind["properties"]:
                found[name] = all(name in other["required"] for other in kinds)

    walk({"$ref": "#/$defs/item"}, resolver)
    return found


def check(value: Any, name: str, part: str = "") -> None:
    """Fails with the first thing that is wrong."""
    error = next(validator(name, part).iter_errors(value), None)
    if error is not None:
        while error.context:
            error = error.context[-1]
        shown = json.dumps(value)[:1500]
        raise AssertionError(f"{name}.json{part}: {error.json_path}: {error.message[:500]}\nin {shown}")


def validate(command: str, document: Any) -> None:
    """A whole document of `--json`. `command` is the word, or `p2pd WORD`."""
    items = document.get("items") if isinstance(document, dict) else None
    if isinstance(items, list) and len(items) > 2 * ENDS:
        document = {**document, "items": items[:ENDS] + items[-ENDS:]}
    check(document, file_of(command))
    for failed in document.get("failed", ()):
        _status(failed)


def validate_item(command: str, item: Any) -> None:
    """One line of `--jsonl`."""
    check(item, file_of(command), "/$defs/item")


def validate_line(line: str) -> dict[str, Any]:
    """A JSON line of stderr: an error, a warning or progress. Returns it."""
    value: dict[str, Any] = json.loads(line)
    name = LINES.get(value.get("schema", ""))
    assert name is not None, f"a line on stderr of no known schema: {line}"
    check(value, name)
    if name == "error":
        _status(value)
    return value


def _status(error: dict[str, Any]) -> None:
    """Code and exit status belong together."""
    expected = (130, 143) if error["code"] == "interrupted" else (EXIT_STATUS[error["code"]],)
    assert error["exit"] in expected, error


def validate_run(words: list[str], status: int, out: str, err: str) -> None:
    """Everything that a run of p2pctl printed, when it was asked for JSON. `words` are its arguments."""
    asked = {"--json", "--jsonl"} & set(words[: words.index("--")] if "--" in words else words)
    if not asked:
        return
    command = command_of(words)
    for line in err.splitlines():
        validate_line(line)
    if command == "download" and "-" in words:
        return  # octets
    lines = out.splitlines()
    if asked == {"--json"}:
        assert len(lines) <= 1, out[:500]
        for line in lines:
            validate(command, json.loads(line))
    else:
        for line in lines[:ENDS] + lines[ENDS:][-ENDS:]:
            validate_item(command, json.loads(line))
    if status == 0:
        assert lines or asked == {"--jsonl"}, "no document"


def command_of(words: list[str]) -> str:
    """The command's word in the arguments of p2pctl."""
    from p2pctl.args import split
    from p2pctl.cli import ALIASES

    command, _ = split(words)
    assert command is not None, words
    return ALIASES.get(command, command)
