"""scripts/manuals.py: the pages say what the programs say, and are well-formed. `python -m scripts.manuals` writes them."""

from __future__ import annotations

import subprocess

import pytest

from p2pctl import cli
from p2pd.config import KEYS
from scripts import manuals
from tests.fakes.programs import needs

PAGES = manuals.pages()


@pytest.mark.parametrize("name", PAGES)
def test_what_is_kept_is_what_is_made(name: str) -> None:
    path = manuals.ROOT / name
    assert path.exists(), "python -m scripts.manuals"
    assert path.read_text(encoding="utf-8") == PAGES[name], "python -m scripts.manuals"


@pytest.mark.parametrize("name", [name for name in PAGES if "/man/" in name])
def test_a_page_is_well_formed(name: str) -> None:
    done = subprocess.run(
        [needs("mandoc"), "-Tlint", "-W", "warning", str(manuals.ROOT / name)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def shown(name: str) -> str:
    """A page as it is read."""
    done = subprocess.run(
        [needs("mandoc"), "-Tutf8", "-O", "width=500", str(manuals.ROOT / name)],
        capture_output=True,
        text=True,
        check=True,
    )
    text = done.stdout
    while "\b" in text:  # overstruck for bold and italics
        at = text.index("\b")
        text = text[: at - 1] + text[at + 1 :]
    return text


def test_every_command_option_and_example_is_there() -> None:
    text = shown("docs/man/p2pctl.1")
    for command in cli.summaries():
        assert f"p2pctl {command} [OPTION]..." in text
        module, parser = cli.load(command)
        for line in module.EXAMPLES.strip().splitlines():
            assert line.strip() in text
        for action in parser._actions:
            for name in action.option_strings:
                assert action.help == "==SUPPRESS==" or name in text, (command, name)
    assert "--answer" not in text


def test_every_setting_is_there() -> None:
    text = shown("docs/man/p2pd.toml.5")
    for name, key in KEYS.items():
        assert key.help.rstrip(".") in text
        assert f"P2PD_{name.upper().replace('.', '_')}" in text


def test_every_exit_status_is_there() -> None:
    from protocol.errors import EXIT_STATUS

    numbers = {int(number) for row, _ in manuals.statuses() for number in row.split(",")}
    assert set(EXIT_STATUS.values()) | {130, 141, 143} == numbers


def test_a_page_cannot_be_upset_by_what_it_says() -> None:
    assert manuals.roff(".SH 'x' \\fB -o") == "\\&.SH \\(aqx\\(aq \\efB \\-o"
    assert manuals.cell("a|b <c>") == "a\\|b &lt;c>"
