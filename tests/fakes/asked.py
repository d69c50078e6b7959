"""A stand-in for `podman` where a document uses it: python -m tests.fakes.asked ARGUMENT...

The rule: it does nothing but check. What a line asks for must be what packaging/ has: an image that the Containerfile makes, its ports,
volumes, user and programs, settings that are settings. What was asked before is kept in ~/.asked. It is no podman: the real one needs
an image to begin with, which comes through the network.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class Unlike(Exception):
    """What is asked for is not there."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise Unlike(message)


def expect(condition: object, what: str) -> None:
    if not condition:
        raise Unlike(what)


def instructions(containerfile: str) -> dict[str, list[str]]:
    """What the last stage says, by instruction."""
    text = containerfile.replace("\\\n", " ")
    said: dict[str, list[str]] = {}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            said = {}
        if word.isupper():
            said.setdefault(word, []).append(rest)
    return said


def podman(words: Sequence[str], state: dict[str, Any]) -> None:
    """What is built, made and run is added to `state`. Raises Unlike."""
    commands: dict[str, Callable[[Sequence[str], dict[str, Any]], None]] = {
        "build": _build,
        "secret": _secret,
        "run": _run,
        "exec": _exec,
    }
    expect(words and words[0] in commands, f"podman {' '.join(words)}")
    commands[words[0]](words[1:], state)


def _build(words: Sequence[str], state: dict[str, Any]) -> None:
    parser = _Parser("podman build")
    parser.add_argument("--format", choices=["docker", "oci"])
    parser.add_argument("-f", "--file", type=Path, required=True)
    parser.add_argument("-t", "--tag", required=True)
    parser.add_argument("context", type=Path)
    asked = parser.parse_args(words)
    said = instructions(asked.file.read_text(encoding="utf-8"))
    expect(
        asked.format == "docker" or "HEALTHCHECK" not in said, "only --format docker keeps the HEALTHCHECK"
    )
    expect((asked.context / "setup.cfg").exists(), "the context has no sources")
    state["images"] = {**state.get("images", {}), asked.tag: said}


def _secret(words: Sequence[str], state: dict[str, Any]) -> None:
    expect(len(words) == 3 and words[0] == "create", f"podman secret {' '.join(words)}")
    expect(Path(words[2]).read_text(encoding="utf-8").strip(), "the secret is empty")
    state["secrets"] = [*state.get("secrets", []), words[1]]


def _run(words: Sequence[str], state: dict[str, Any]) -> None:
    from p2pd.cli import parser as daemon_parser
    from p2pd.config import load

    parser = _Parser("podman run")
    parser.add_argument("-d", action="store_true")
    parser.add_argument("--name", required=True)
    parser.add_argument("-p", action="append", default=[])
    parser.add_argument("-v", action="append", default=[])
    parser.add_argument("--secret", action="append", default=[])
    parser.add_argument("-e", action="append", default=[])
    parser.add_argument("image")
    parser.add_argument("arguments", nargs="*")
    asked = parser.parse_args(words)
    expect(asked.image in state.get("images", {}), f"there is no image {asked.image}")
    said = state["images"][asked.image]
    ports = said["EXPOSE"][-1].split()
    for mapping in asked.p:
        expect(mapping.rpartition(":")[2] in ports, f"{mapping}: the image has the ports {ports}")
    volumes = json.loads(said["VOLUME"][-1])
    for volume in asked.v:
        source, place, *_ = volume.split(":")
        expect(place in volumes, f"{volume}: the image has the volumes {volumes}")
        expect("/" not in source or Path(source).is_dir(), f"there is no {source}")
    files = {}
    for secret in asked.secret:
        name, *options = secret.split(",")
        expect(name in state.get("secrets", []), f"there is no secret {name}")
        uid = dict(option.split("=") for option in options).get("uid", "0")
        expect(f"--uid {uid} " in " ".join(said["RUN"]), f"{secret}: the image runs as another user")
        files[f"/run/secrets/{name}"] = name
    environment = dict(setting.split("=", 1) for setting in asked.e)
    arguments = asked.arguments or json.loads(said["CMD"][-1])
    role = daemon_parser().parse_args(arguments).command
    password = environment.get("P2PD_PASSWORD_FILE", "")
    expect(not password or password in files, f"there is no {password}")
    load(role, {"config": os.devnull}, environment)  # raises Fault for a setting that there is not
    state["containers"] = [*state.get("containers", []), asked.name]


def _exec(words: Sequence[str], state: dict[str, Any]) -> None:
    from p2pctl.cli import ALIASES, summaries

    expect(len(words) > 2 and words[0] in state.get("containers", []), f"podman exec {' '.join(words)}")
    expect(words[1] == "p2pctl" and ALIASES.get(words[2], words[2]) in summaries(), " ".join(words[1:]))


def main() -> int:
    words = sys.argv[1:]
    kept = Path.home() / ".asked"
    state = json.loads(kept.read_text()) if kept.exists() else {}
    try:
        podman(words, state)
    except (Unlike, OSError) as wrong:
        print(f"podman {' '.join(words)}: {wrong}", file=sys.stderr)
        return 1
    kept.write_text(json.dumps(state))
    return 0


if __name__ == "__main__":
    sys.exit(main())
