"""Runs the snippets of a document as a reader would, on a machine of their own: python -m tests.fakes.snippet_runner DOCUMENT

The rule: it is started in namespaces of its own (see `alone`), where it gives itself an address, an empty /home and whatever the
document writes; nothing it does is seen outside, and whatever it starts ends with it. Says what is wrong and ends with 1.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fakes.snippets import INTERRUPT, Snippet, Step, differs, pattern, plain, snippets

ROOT = Path(__file__).resolve().parents[2]
HOME = Path("/home/me")
ADDRESS = "192.168.1.100"
PASSWORD = "correct horse battery staple"
SECONDS = 60.0
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


SWARM = f"""#!/bin/sh
# swarm [NAME]...: a tracker, a peer with all defaults, and a peer with the home ~/NAME for each NAME, all with one password.
set -e
cd "$HOME"
(umask 077; echo '{PASSWORD}' > .secret)
p2pd tracker --password-file .secret > .tracker.log 2>&1 &
port=8001
p2pd peer --tracker localhost --password-file .secret > .peer.log 2>&1 &
for name; do
    port=$((port + 1))
    p2pd peer --tracker localhost --listen $port --home "$name" --password-file .secret > ".$name.log" 2>&1 &
done
for name in .local/state/p2pd/tracker .local/state/p2pd/peer "$@"; do
    p2pctl --home "$name" ping --wait-daemon 30 > /dev/null
done
settled .local/state/p2pd/peer "$@"
"""

SETTLED = f"""#!/bin/sh
# settled HOME...: waits until these peers are connected to their trackers and have told them everything.
exec {sys.executable} - "$@" <<'END'
import json, subprocess, sys, time

def settled(home):
    done = subprocess.run(["p2pctl", "--home", home, "--json", "status"], capture_output=True)
    trackers = json.loads(done.stdout)["items"][0]["trackers"] if done.returncode == 0 else [{{"state": "unknown"}}]
    return all(t["state"] == "connected" and t["published_revision"] == t["revision"] for t in trackers)

deadline = time.monotonic() + 40
for home in sys.argv[1:]:
    while not settled(home):
        assert time.monotonic() < deadline, home
        time.sleep(0.1)
END
"""


SERVER = rf"""#!/bin/sh
# server: a real sshd under the name of `server`, which lets us in. The machine's own files stay as they are: ours lie over them.
set -e
directory=$(mktemp -d)
cd "$directory"
ssh-keygen -q -t ed25519 -N '' -f key
cat > config <<END
Host server
    HostName {ADDRESS}
    User root
    IdentityFile $directory/key
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
END
mount --bind config /etc/ssh/ssh_config
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd
cat > sshd_config <<END
HostKey $directory/key
AuthorizedKeysFile $directory/key.pub
StrictModes no
UsePAM no
PidFile none
SetEnv HOME=$HOME PATH=$PATH PYTHONPATH=$PYTHONPATH PYTHONUTF8=1
ForceCommand cd $HOME && eval "\$SSH_ORIGINAL_COMMAND"
END
exec "$(command -v sshd || echo /usr/sbin/sshd)" -f "$directory/sshd_config"
"""


DATABASE = f"""#!/bin/sh
# database: a PostgreSQL server of ours under the name of db.example, which believes whoever it is.
set -e
programs=$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb | tail -1)")
directory=$(mktemp -d)
chown postgres "$directory"
cd "$directory"
runuser -u postgres -- "$programs/initdb" -D data -A trust -E UTF8 --no-sync > log
echo 'host all all 0.0.0.0/0 trust' >> data/pg_hba.conf
runuser -u postgres -- "$programs/postgres" -D data -k "$directory" -c listen_addresses={ADDRESS} -c fsync=off >> log 2>&1 &
until "$programs/pg_isready" -q -h {ADDRESS}; do sleep 0.1; done
{{ cat /etc/hosts; echo '{ADDRESS} db.example'; }} > hosts
mount --bind hosts /etc/hosts
"""


def prepare() -> dict[str, str]:
    """Makes the machine; the environment of its user."""
    for command in (
        "ip link set lo up",
        f"ip address add {ADDRESS}/24 dev lo",
        f"ip route add default dev lo src {ADDRESS}",
        "mount -t tmpfs tmpfs /home",
    ):
        subprocess.run(command.split(), check=True)
    HOME.mkdir()
    programs = HOME / ".local/bin"
    programs.mkdir(parents=True)
    scripts = {name: f'#!/bin/sh\nexec {sys.executable} -m {name} "$@"\n' for name in ("p2pd", "p2pctl")}
    for name, text in {
        **scripts,
        "swarm": SWARM,
        "settled": SETTLED,
        "server": SERVER,
        "database": DATABASE,
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "CHECKOUT": str(ROOT),
        "HOME": str(HOME),
        "USER": "me",
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "PGHOST": ADDRESS,
        "PGUSER": "postgres",
        "COLUMNS": "140",
    }


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

    def follow(self, snippet: Snippet) -> None:
        """Does what a snippet says. Raises Wrong."""
        if snippet.reason:
            return
        if snippet.language == "run":
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

    def _check(self, command: str, expected: int | None) -> list[str]:
        status, printed = self._main.run(command)
        if expected is not None and status != expected:
            raise Wrong(f"exit {status} instead of {expected}: {command}\n" + "\n".join(printed))
        return printed


def main() -> int:
    name = sys.argv[1]
    reader = Reader()
    signal.alarm(600)
    for snippet in snippets((ROOT / name).read_text(encoding="utf-8")):
        try:
            reader.follow(snippet)
        except Wrong as wrong:
            print(f"{name}:{snippet.line}: {wrong}")
            for log in HOME.glob(".*.log"):
                print(f"---- {log}\n{log.read_text(errors='replace')[-3000:]}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
