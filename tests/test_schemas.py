"""The published schemas are whole and say what is printed: each command has one, and what it prints keeps it."""

from __future__ import annotations

import argparse
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from p2pctl.cli import load as load_command
from p2pctl.cli import summaries
from p2pd.cli import parser as daemon_parser
from protocol.errors import EXIT_STATUS
from tests.fakes import schemas
from tests.fakes.schemas import SHARED, load, names

WITHOUT_DOCUMENT = {"shell": "each of its lines is a command with its own"}
"""Commands of p2pctl that print no document, and why."""


@pytest.mark.parametrize("command", sorted(summaries()))
def test_each_command_has_a_schema(command: str) -> None:
    if command in WITHOUT_DOCUMENT:
        assert command not in names()
        return
    schema = load(command)
    version = schema["$id"].rpartition("/")[2]
    assert schema["$id"] == f"urn:p2p:{command}/{version}"
    assert schema["properties"]["schema"] == {"const": f"p2p.{command}/{version}"}
    assert schema["$ref"] == "urn:p2p:document/1"
    assert schema["properties"]["items"] == {"items": {"$ref": "#/$defs/item"}}


@pytest.mark.parametrize("command", sorted(set(summaries()) - set(WITHOUT_DOCUMENT)))
def test_columns_are_the_fields(command: str) -> None:
    """--columns takes each field and no other word; those that --tsv shows unasked are always there."""
    view = load_command(command)[0].VIEW
    found = schemas.fields(command)
    assert {*view.columns, *view.more} == set(found)
    assert len(view.columns) + len(view.more) == len(found)
    assert [name for name in view.columns if not found[name]] == []
    assert view.quiet in found


def test_each_schema_has_its_command() -> None:
    found = {name for name in names() if name not in SHARED and not name.startswith("p2pd.")}
    assert found == summaries().keys() - WITHOUT_DOCUMENT.keys()


def test_each_document_of_the_daemon_has_a_schema() -> None:
    def documents(parser: argparse.ArgumentParser) -> bool:
        return any(
            "--json" in action.option_strings
            or (
                isinstance(action, argparse._SubParsersAction)
                and any(map(documents, action.choices.values()))
            )
            for action in parser._actions
        )

    (commands,) = (a for a in daemon_parser()._actions if isinstance(a, argparse._SubParsersAction))
    words = {word for word, parser in commands.choices.items() if documents(parser)}
    assert {name for name in names() if name.startswith("p2pd.")} == {f"p2pd.{word}" for word in words}
    for word in words:
        schema = load(f"p2pd.{word}")
        assert schema["$id"] == f"urn:p2pd:{word}/1"
        assert schema["properties"]["schema"] == {"const": f"p2pd.{word}/1"}


@pytest.mark.parametrize("name", names())
def test_schemas_are_well_formed(name: str) -> None:
    schema = load(name)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)
    for reference in references(schema):
        schemas.registry().resolver(schema["$id"]).lookup(reference)


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return found + [one for value in node.values() for one in references(value)]
    return [one for value in node for one in references(value)] if isinstance(node, list) else []


@pytest.mark.parametrize("name", names())
def test_schemas_are_closed(name: str) -> None:
    """A field that nobody described is an error: an object says what may be in it, or stands in one that does."""

    def walk(node: Any, place: str, closed: bool) -> None:
        if isinstance(node, list):
            for index, value in enumerate(node):
                walk(value, f"{place}/{index}", closed)
        elif isinstance(node, dict):
            here = any(node.get(key) is False for key in ("additionalProperties", "unevaluatedProperties"))
            if "properties" in node and place and name != "common":
                assert here or closed, f"{name}.json{place} takes any field"
            for key, value in node.items():
                walk(value, f"{place}/{key}", False)

    walk(load(name), "", False)


@pytest.mark.parametrize("name", names())
def test_numbers_name_their_unit(name: str) -> None:
    """`size_bytes`, `rate_bytes_per_s`, `uptime_s`; a plain number is a count or an identifier."""
    units = {"octets": "_bytes", "rate": "_bytes_per_s", "seconds": "_s", "time": "_at"}

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for field, value in (node.get("properties") or {}).items():
                kind = str(value.get("$ref", "")).removeprefix("urn:p2p:common/1#").removesuffix("_or_null")
                if kind in units:
                    assert field.endswith(units[kind]), field
                elif kind in ("count", "port"):
                    assert not re.search(r"_(s|bytes|at)$", field), field
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(load(name))


def test_codes_are_those_of_the_table() -> None:
    codes = set(EXIT_STATUS) - {"ok"}
    defs = load("common")["$defs"]
    assert set(defs["code"]["enum"]) == codes
    assert set(defs["failure"]["properties"]["code"]["enum"]) == codes | {"interrupted"}


GOOD: dict[str, Any] = {"schema": "p2p.ping/1", "items": [], "partial": False, "next": None, "warnings": []}


def test_a_document_that_keeps_the_contract() -> None:
    schemas.validate("ping", {**GOOD, "items": [{"version": "0.1.0", "uptime_s": 1.5, "pid": 7}]})


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "p2p.list/1"},
        {"items": None},
        {"items": [{"version": "0.1.0", "uptime_s": "1.5", "pid": 7}]},
        {"items": [{"version": "0.1.0", "uptime_s": 1.5, "pid": 7, "extra": 1}]},
        {"items": [{"version": "0.1.0", "uptime_s": 1.5}]},
        {"failed": []},
        {"failed": [{"code": "usage", "exit": 2, "message": "x", "hint": ""}]},
        {"failed": [{"subject": "x", "code": "usage", "exit": 3, "message": "x", "hint": ""}]},
        {"partial": 0},
        {"extra": 1},
    ],
)
def test_a_document_that_does_not(changes: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        schemas.validate("ping", {**GOOD, **changes})


def test_lines_of_stderr() -> None:
    good = '{"schema": "p2p.error/1", "code": "auth", "exit": 8, "message": "no", "hint": ""'
    assert schemas.validate_line(good + "}")["exit"] == 8
    for bad in (good + ', "extra": 1}', good.replace("8", "9") + "}", '{"schema": "p2p.other/1"}'):
        with pytest.raises(AssertionError):
            schemas.validate_line(bad)
