"""tests/fakes/snippets.py: blocks of a document, and what counts as the same output."""

from __future__ import annotations

import pytest

from tests.fakes.snippets import Step, differs, pattern, plain, snippets

DOCUMENT = """\
# Title

<!-- run: touch a -->

<!-- snippet: exit=4 -->
```console
$ ls \\
> -l
total 0
$ false
```

- in a list:

  ```sh
  one
    two
  ```

<!-- snippet: terminal=1 -->
```console
^C
$ p2pd
```

<!-- snippet: as=cron -->
```text
@daily halt
```

```text
nothing
```
"""


def test_the_blocks_of_a_document() -> None:
    hidden, console, sh, terminal, cron, text = snippets(DOCUMENT)
    assert (hidden.language, hidden.text, hidden.line) == ("run", "touch a", 3)
    assert console.exit == 4
    assert console.steps == [Step("ls \\\n-l", ("total 0",)), Step("false")]
    assert (sh.language, sh.text, sh.exit) == ("sh", "one\n  two", 0)
    assert (terminal.terminal, terminal.steps) == ("1", [Step("^C"), Step("p2pd")])
    assert (cron.way, sh.way) == ("cron", "")
    assert (text.language, text.way) == ("text", "")


def test_what_is_for_another_machine() -> None:
    document = "<!-- root: a -->\n<!-- snippet: as=user -->\n```sh\nb\n```\n<!-- user: c -->\n"
    found = [(each.language, each.way, each.text) for each in snippets(document)]
    assert found == [("run", "root", "a"), ("sh", "user", "b"), ("run", "user", "c")]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("```\nls\n```", "line 1: a block of ''"),
        ("```perl\nls\n```", "line 1: a block of 'perl'"),
        ("\n```sh\nls", "line 2: a block without an end"),
        ("<!-- snippet: exit=4 -->\n\nwords", "line 3: there is no block after the comment"),
        ("<!-- snippet: none, because -->\n```sh\nls\n```", "line 1: 'none,' is not understood"),
        ("<!-- snippet: as=nothing -->\n```sh\nls\n```", "line 1: 'as=nothing' is not understood"),
        ("<!-- snippet: quietly -->\n```sh\nls\n```", "line 1: 'quietly' is not understood"),
    ],
)
def test_what_is_not_understood(document: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(snippets(document))


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a b", "a b", True),
        ("a b", "a c", False),
        ("ID           NAME", "ID   NAME", True),
        ("94efc594  x", "00000000  x", True),
        ("94efc594  x", "9  x", False),
        ("1.0 KiB in 0.1 s, 9.1 KiB/s", "1.0 KiB in 12 s, 310 B/s", True),
        ("1.0 KiB in 0.1 s", "2.0 KiB in 0.1 s", False),
        ("up 5 s", "up 1m 3s", True),
        ("at 2026-08-18T09:12:44Z", "at 2027-01-01T00:00:00.5Z", True),
        ("(a) [b] *", "(a) [b] *", True),
    ],
)
def test_what_counts_as_the_same(shown: str, printed: str, same: bool) -> None:
    assert bool(pattern(shown).fullmatch(printed)) is same


def test_lines_and_dots() -> None:
    assert differs((), []) == ""
    assert differs(("a", "...", "d"), ["a", "b", "c", "d"]) == ""
    assert differs(("...",), []) == ""
    assert differs(("a", "", "b"), ["a", "b"]) == ""
    assert differs((), ["a"]) == "shown:\n  \nprinted:\n  a"
    assert differs(("a",), ["a", "b"]) != ""
    assert differs(("a", "b"), ["a"]) != ""


def test_what_a_terminal_leaves_to_read() -> None:
    assert plain("\x1b[1mbold\x1b[0m\r\n10%\r20%\rdone\r\n\x1b]0;title\x07$ ") == "bold\ndone\n$ "
