"""Wheels of what is installed here, for a pip that has no network: python -m tests.fakes.wheels DIRECTORY NAME...

The rule: a wheel has the files that its installation lists, and nothing that the installation made; so it fits this Python only.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MADE = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")


def needed(names: Iterable[str]) -> dict[str, Distribution]:
    """What is installed of these names and of what they require, by name. Raises PackageNotFoundError."""
    found: dict[str, Distribution] = {}
    todo = [canonicalize_name(name) for name in names]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found[name] = distribution(name)
        for line in found[name].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(canonicalize_name(requirement.name))
    return found


def write(installed: Distribution, directory: Path) -> Path:
    """The wheel of one distribution."""
    tags = [
        line[5:] for line in (installed.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")
    ]
    parts = zip(*(tag.split("-") for tag in tags), strict=True)
    tag = "-".join(".".join(dict.fromkeys(part)) for part in parts)
    files = [
        file
        for file in installed.files or ()
        if file.parts[0] != ".."  # programs and manuals outside: pip makes the former anew
        and file.suffix != ".pyc"
        and not (file.parts[0].endswith(".dist-info") and file.name in MADE)
    ]
    [information] = {file.parts[0] for file in files if file.parts[0].endswith(".dist-info")}
    path = directory / f"{information.removesuffix('.dist-info')}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in files:
            wheel.write(str(file.locate()), str(file))
        rows = [f"{file},," for file in files]
        wheel.writestr(f"{information}/RECORD", "\n".join([*rows, f"{information}/RECORD,,", ""]))
    return path


def main() -> None:
    directory, *names = sys.argv[1:]
    for installed in needed(names).values():
        write(installed, Path(directory))


if __name__ == "__main__":
    main()
