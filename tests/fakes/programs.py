"""Programs of the system that some tests need: a test without its program is skipped, or fails where everything is to be tested."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def needs(program: str) -> str:
    """The path of a program. Skips the test when it is not installed, unless P2PD_TEST_EVERYTHING is set, as .ci/run does."""
    path = shutil.which(program)
    if path is None:
        lacks(f"{program} is not installed")
    return path


def lacks(what: str) -> NoReturn:
    """Skips the test that needs what is not here, or fails it."""
    if os.environ.get("P2PD_TEST_EVERYTHING"):
        raise AssertionError(what)
    pytest.skip(what)
