"""Runs the snippets of a document as a reader would, on a machine of their own: python -m tests.fakes.snippet_runner DOCUMENT

The rule: it is started in namespaces of its own (see `alone`), where it gives itself an address, an empty /home and whatever the
document writes; nothing it does is seen outside, and whatever it starts ends with it. Says what is wrong and ends with 1.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.fakes import snippet_ways as ways
from tests.fakes.snippet_machine import HOME, PASSWORD, ROOT, USER, prepare
from tests.fakes.snippets import BOOTED, INTERRUPT, Snippet, Step, differs, pattern, plain, snippets

SECONDS = 120.0
MEASURING = 5  # at a time: they mostly wait, and how fast they are does not matter here
MEASURE_SECONDS = 200.0
_QUESTION = re.compile(r"^(.*?[:?>\]]) (\S.*)$")
_SECRET = re.compile(r"(password.*|^Enter .*):$", re.IGNORECASE)
_END = "\x1e"


class Wrong(Exception):
    """The document and the program do not agree."""


def alone(document: str) -> list[str]:
    """The command that runs a document in namespaces of its own: network, files, processes."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    separate = ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [*separate, sys.executable, "-m", "tests.fakes.snippet_runner", document]


class Main:
    """The shell in which commands run one after the other. What they print goes through a pipe."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._file = Path(tempfile.mkdtemp()) / "command"
        self._status = 0
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd=HOME,
        )

    def run(self, command: str) -> tuple[int, list[str]]:
        """Exit status and the lines printed."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._file.write_text(f"(exit {self._status})\n{command}\n")  # so that `echo $?` tells
        self._shell.stdin.write(f". {self._file} </dev/null; printf '{_END}%d{_END}' $?\n".encode())
        self._shell.stdin.flush()
        output = b""
        deadline = time.monotonic() + SECONDS
        while not (end := re.search(f"{_END}(\\d+){_END}".encode(), output)):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._shell.stdout], [], [], left)[0]:
                raise Wrong(f"not over after {SECONDS:g} s: {command}\n{output.decode(errors='replace')}")
            if not (more := os.read(self._shell.stdout.fileno(), 1 << 16)):
                raise Wrong(f"the shell ended at: {command}")
            output += more
        self._status = int(end[1])
        return self._status, plain(output[: end.start()].decode(errors="replace")).splitlines()


class Terminal:
    """A terminal with a shell in it, in which a program may go on."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.read = ""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(environ["HOME"])
            os.execvpe(
                "bash", ["bash", "--noprofile", "--norc", "--noediting"], {**environ, "PS1": f"{_END}$ "}
            )

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def expect(self, wanted: re.Pattern[str], what: str) -> None:
        """Waits for it, and forgets all up to it."""
        deadline = time.monotonic() + SECONDS
        while not (found := wanted.search(plain(self.read))):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise Wrong(f"not within {SECONDS:g} s: {what}\nthere is:\n{plain(self.read)}")
            self.read += os.read(self._fd, 1 << 16).decode(errors="replace")
        self.read = plain(self.read)[found.end() :]

    def run(self, steps: list[Step]) -> None:
        """Types and reads as the lines show; the last program goes on."""
        for step in steps:
            if step.command == INTERRUPT:
                self.type("\x03")
                continue
            self.expect(re.compile(re.escape(f"{_END}$")), "a prompt")
            self.type(step.command + "\n")
            for line in step.printed:
                self._line(line)

    def _line(self, line: str) -> None:
        if line.strip() in ("", "..."):
            return
        if _SECRET.search(line):
            self.expect(pattern(line), line)
            self.type(PASSWORD + "\n")
        elif (question := _QUESTION.match(line)) and self._asks(question[1]):
            self.type(question[2] + "\n")
        else:
            self.expect(pattern(line), line)

    def _asks(self, question: str) -> bool:
        """Whether this is a question that waits, and not a line that happens to look so: it is the end of all there is."""
        words = re.compile(pattern(question).pattern + r"$")
        deadline = time.monotonic() + SECONDS
        while not words.search(plain(self.read)):
            if pattern(question).search(plain(self.read)) and "\n" in plain(self.read):
                return False
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise Wrong(f"not within {SECONDS:g} s: {question}\nthere is:\n{plain(self.read)}")
            self.read += os.read(self._fd, 1 << 16).decode(errors="replace")
        self.read = ""
        return True


class Reader:
    """Who follows the document."""

    def __init__(self) -> None:
        self._environ = prepare()
        self._main = Main(self._environ)
        self._terminals: dict[str, Terminal] = {}
        self._pool = ThreadPoolExecutor(MEASURING)
        self._measured: list[Future[None]] = []

    def follow(self, snippet: Snippet) -> None:
        """Does what a snippet says. Raises Wrong."""
        if snippet.way:
            self._otherwise(snippet)
        elif snippet.language == "run":
            self._check(snippet.text, 0)
        elif snippet.terminal:
            if snippet.terminal not in self._terminals:
                home = snippet.home or str(HOME)
                self._terminals[snippet.terminal] = Terminal({**self._environ, "HOME": home})
            self._terminals[snippet.terminal].run(snippet.steps)
        elif snippet.language == "console":
            following = [*(step.command for step in snippet.steps[1:]), ""]
            for step, then in zip(snippet.steps, following, strict=True):
                printed = self._check(
                    step.command, None if then == "echo $?" else 0 if then else snippet.exit
                )
                if trouble := differs(step.printed, printed):
                    raise Wrong(f"$ {step.command}\n{trouble}")
        elif snippet.language == "sh":
            self._check(f"(set -e\n{snippet.text}\n)", snippet.exit)
        elif snippet.language == "python":
            Path("/home/snippet.py").write_text(snippet.text)
            self._check(f"{sys.executable} /home/snippet.py", snippet.exit)

    def finish(self) -> None:
        """Waits for what goes on beside the others. Raises Wrong."""
        for each in self._measured:
            each.result()

    def give_up(self) -> None:
        """Begins no more of that."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _measure(self, command: str) -> None:
        done = subprocess.run(
            command,
            shell=True,
            cwd=ROOT,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=MEASURE_SECONDS,
            check=False,
        )
        if done.returncode != 0 or "Python 3" not in done.stdout:  # each says what it was measured on
            raise Wrong(f"exit {done.returncode}: {command}\n{done.stdout}")

    def _otherwise(self, snippet: Snippet) -> None:
        """See WAYS in snippets.py."""
        if snippet.way == "small":
            self._measured += [self._pool.submit(self._measure, line) for line in ways.small(snippet.text)]
        elif snippet.way == "narrowed":
            for name, value in ways.NARROWED.items():
                self._check(f"export {name}={shlex.quote(value)}", 0)
            printed = "\n".join(self._check(f"(set -e\n{snippet.text}\n)", 0))
            if missing := ways.not_seen(snippet.text, printed):
                raise Wrong(f"nothing printed looks like {missing}:\n{printed}")
        elif snippet.way == "cron":
            for job in ways.cron(snippet.text):
                self._check(ways.job_command(job, str(HOME), USER), 0)
        elif snippet.way == "recorded":
            self._check(f"(set -e; PATH=$ASKED:$PATH\n{snippet.text}\n)", 0)

    def _check(self, command: str, expected: int | None) -> list[str]:
        status, printed = self._main.run(command)
        if expected is not None and status != expected:
            raise Wrong(f"exit {status} instead of {expected}: {command}\n" + "\n".join(printed))
        return printed


def main() -> int:
    name = sys.argv[1]
    reader = Reader()
    signal.alarm(600)
    for snippet in [*snippets((ROOT / name).read_text(encoding="utf-8")), None]:
        try:
            if snippet is None:
                reader.finish()
            elif snippet.way not in BOOTED:
                reader.follow(snippet)
        except Wrong as wrong:
            print(f"{name}:{snippet.line if snippet is not None else 'a measurement'}: {wrong}")
            for log in HOME.glob(".*.log"):
                print(f"---- {log}\n{log.read_text(errors='replace')[-3000:]}")
            reader.give_up()
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
