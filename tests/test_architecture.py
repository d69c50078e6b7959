"""Rules of the house that no other tool checks: mirrored tests, sizes of files, purity, what the client imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol import version

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("protocol", "p2pd", "p2pctl")
MAX_LINES = 400
SOURCES = (*PACKAGES, "tests", "bench", "scripts")

WITHOUT_TESTS = {
    "protocol/limits.py": "constants; tests/test_docs.py compares them with the specification",
    "protocol/version.py": "constants; compared with the documents below",
}
"""Modules without a test file of their name, and why. Commands of p2pctl are short and share tests/p2pctl/test_shapes.py."""

OF_SEVERAL = {
    "tests/p2pctl/test_shapes.py": "all commands of the client",
    "tests/p2pctl/test_commands.py": "single commands of the client",
    "tests/p2pctl/test_examples.py": "examples of all commands",
    "tests/p2pctl/test_add.py": "a command",
    "tests/p2pctl/test_tracker.py": "a command",
    "tests/p2pctl/test_want.py": "a command",
    "tests/p2pctl/test_verify.py": "a command",
    "tests/p2pctl/test_operating.py": "config, reload and logs",
    "tests/p2pctl/test_process.py": "the client as a process",
    "tests/protocol/test_vectors.py": "golden vectors of the document",
    "tests/protocol/test_content_vectors.py": "golden vectors of the document",
}
"""Test files that are of no one module, and what they are of."""

SLEEPERS = {
    "p2pctl/commands/ping.py": "waits for a daemon that is not there yet: nobody can wake it",
    "p2pctl/commands/shutdown.py": "waits for a process that is not its child",
}
"""Where time.sleep is allowed: one-shot programs that wait for what cannot tell them."""

PURE = ("protocol/", "p2pd/engine/")
IMPURE_MODULES = {"time", "random", "secrets", "uuid", "datetime", "threading", "subprocess"}
IMPURE_CALLS = {"open", "input", "print", "os.urandom", "os.getrandom"}

HEAVY = {
    "asyncio",
    "cryptography",
    "msgspec",
    "blake3",
    "nacl",
    "sqlite3",
    "rich",
    "prompt_toolkit",
    "zmq",
    "platformdirs",
    "logging",
    "p2pd",
}
"""What the client must never load to run an ordinary command; msgpack comes with the connection."""


def modules() -> list[str]:
    """All modules of the packages, as paths from the root."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def calls(tree: ast.AST) -> Iterator[str]:
    """Names of what is called: `open`, `time.sleep`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                yield f"{node.func.value.id}.{node.func.attr}"


def parse(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def test_each_module_has_its_test_file() -> None:
    missing = []
    for module in modules():
        path = Path(module)
        if path.name in ("__init__.py", "__main__.py") or module in WITHOUT_TESTS:
            continue
        if path.parent == Path("p2pctl/commands"):
            continue
        if not (ROOT / "tests" / path.parent / f"test_{path.name}").exists():
            missing.append(module)
    assert missing == []


def test_exceptions_are_still_needed() -> None:
    for module in WITHOUT_TESTS:
        path = Path(module)
        assert (ROOT / module).exists()
        assert not (ROOT / "tests" / path.parent / f"test_{path.name}").exists(), module
    for module in SLEEPERS:
        assert "time.sleep" in calls(parse(module)), module


def test_each_test_file_has_its_module() -> None:
    """A test that is named after a module that is gone tests nothing."""
    orphans = []
    for path in (path for package in PACKAGES for path in (ROOT / "tests" / package).rglob("test_*.py")):
        directory = ROOT / path.parent.relative_to(ROOT / "tests")
        name = path.stem.removeprefix("test_")
        # A module may have several: test_session.py, test_session_rekey.py.
        stems = ["_".join(name.split("_")[:count]) for count in range(1, name.count("_") + 2)]
        if not any((directory / f"{stem}.py").exists() for stem in stems):
            orphans.append(path.relative_to(ROOT).as_posix())
    assert set(orphans) == set(OF_SEVERAL)


def test_files_have_a_size_for_reading() -> None:
    """Those of tests and measurements too."""
    files = [path for top in SOURCES for path in (ROOT / top).rglob("*.py")] + [ROOT / "scripts/demo"]
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    long = {path.relative_to(ROOT).as_posix() for path, count in counts.items() if count > MAX_LINES}
    assert not long


def test_each_module_says_what_it_is() -> None:
    silent = [module for module in modules() if not ast.get_docstring(parse(module))]
    assert silent == []


def test_nobody_sleeps() -> None:
    found = {module for module in modules() if "time.sleep" in calls(parse(module))}
    assert found == set(SLEEPERS)


def test_pure_packages_take_time_and_randomness_as_arguments() -> None:
    found = []
    for module in modules():
        if not module.startswith(PURE):
            continue
        for called in calls(parse(module)):
            if called in IMPURE_CALLS or called.split(".")[0] in IMPURE_MODULES:
                found.append((module, called))
    assert found == []


def test_pure_packages_import_no_functions_of_impure_modules() -> None:
    """`from time import monotonic` would slip through the test above."""
    found = []
    for module in modules():
        if module.startswith(PURE):
            for node in ast.walk(parse(module)):
                if isinstance(node, ast.ImportFrom) and node.module in IMPURE_MODULES:
                    found.append((module, node.module))
    assert found == []


def loaded(code: str) -> set[str]:
    """Top-level modules of a fresh interpreter after `code`."""
    script = (
        f"{code}\nimport sys\nprint(','.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split(","))


def test_the_client_starts_light() -> None:
    found = loaded("import p2pctl.cli; p2pctl.cli.main(['version'])")
    assert found & (HEAVY | {"msgpack", "json"}) == set()


@pytest.mark.parametrize("command", sorted(path.stem for path in (ROOT / "p2pctl/commands").glob("[!_]*.py")))
def test_no_command_loads_what_is_heavy(command: str) -> None:
    found = loaded(f"import p2pctl.cli, p2pctl.invocation, p2pctl.client; p2pctl.cli.load({command!r})")
    assert found & HEAVY == set()


def test_documents_name_the_versions_of_the_code() -> None:
    protocol = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    control = (ROOT / "docs/control-api.md").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nVersion {version.WIRE_VERSION}. " in protocol
    assert f" Version {version.CONTROL_VERSION} (`protocol.version.CONTROL_VERSION`)" in control
    newest = changelog.split("\n## ")[1].splitlines()[0]
    assert newest.split(",")[0] == version.VERSION
    assert f"wire {version.WIRE_VERSION}, control {version.CONTROL_VERSION}" in changelog.split("\n## ")[1]
