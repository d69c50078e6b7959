"""The prompt: keys in, lines out, by prompt_toolkit with a terminal that is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from p2pctl import prompting
from p2pctl.history import History
from p2pctl.offering import Offer

UP, TAB, CTRL_C, CTRL_D = "\x1b[A", "\t", "\x03", "\x04"
Ask = Callable[..., str]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """Type keys, and others when something is completed; get the line."""
    with create_pipe_input() as keys:
        later: list[str] = []

        def complete(before: str) -> tuple[int, list[Offer]]:
            keys.send_text(later.pop())
            known = {"add": "share", "adieu": "leave", "dir/": ""}
            start = before.rfind(" ") + 1
            offers = [Offer(word, word, text) for word, text in known.items()]
            return start, [offer for offer in offers if offer.text.startswith(before[start:])]

        history = History(str(tmp_path / "h"))
        prompt = prompting.make(history, complete, color=False, input=keys, output=DummyOutput())

        def typed(text: str, *afterwards: str) -> str:
            later.extend(afterwards)
            keys.send_text(text)
            return prompt()

        yield typed


def test_a_line(ask: Ask) -> None:
    assert ask("list -v\r") == "list -v"


def test_keys_that_end_it(ask: Ask) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask("half" + CTRL_C)
    with pytest.raises(EOFError):
        ask(CTRL_D)
    assert ask("ab" + CTRL_D + "\r") == "ab"


def test_history_over_runs(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "h").write_text("from before\n")
    assert ask("new\r") == "new"
    assert ask(UP + "\r") == "new"
    assert ask(UP + UP + "\r") == "from before"
    assert (tmp_path / "h").read_text() == "from before\nnew\nfrom before\n"


def test_what_is_pasted_is_kept_line_by_line(ask: Ask, tmp_path: Path) -> None:
    assert ask("\x1b[200~list\nping\x1b[201~\r") == "list\nping"
    assert (tmp_path / "h").read_text() == "list\nping\n"


def test_completion(ask: Ask) -> None:
    assert ask("adi" + TAB, "\r") == "adieu "
    assert ask("x add" + TAB, "y\r") == "x add y"
    assert ask("d" + TAB, "\r") == "dir/"


def test_a_plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert prompting.make(History(""), lambda before: (0, []), color=True) is prompting.plain
