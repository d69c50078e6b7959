"""What try_units.py runs as root in its virtual machine: the units of p2pd are installed, used and looked at as docs/operations.md says.

The rule: each line of the report is `ok` or `FAILED` and what was found; the last is `-- end`. It does not know how the machine came to be.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
UNITS = SOURCE / "packaging/systemd"
PASSWORD = "correct horse battery staple"
PATIENCE_S = 240.0  # an emulated processor needs some ten seconds for a key from a password
SIZE = 3_000_000
MOST = 2.0
DENIALS = re.compile(
    r"SIGSYS|seccomp|Operation not permitted|status=31|dumped core|Read-only file system", re.IGNORECASE
)

STREAMS = {"core", "fd", "log", "stderr", "stdin", "stdout"}
DEVICES = STREAMS | {
    "char",
    "full",
    "hugepages",
    "mqueue",
    "null",
    "ptmx",
    "pts",
    "random",
    "shm",
    "tty",
    "urandom",
    "zero",
}


def say(text: str) -> None:
    print(text, flush=True)


def check(what: str, right: bool, found: object = "") -> None:
    text = "; ".join(str(found or "").strip().splitlines())
    say(f"{'ok    ' if right else 'FAILED'} {what}" + (f": {text}" if text else ""))


def until(condition: Callable[[], bool], patience: float = PATIENCE_S) -> bool:
    """Whether it comes to be so in time."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


class Account:
    """Who runs commands: root with the services of the system, or a user with the services of that user."""

    def __init__(self, name: str, home: str = "") -> None:
        self.name = name
        self.entry = pwd.getpwnam(name)
        self.place = Path(home or self.entry.pw_dir)
        self.user = name != "root"

    def run(self, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        runtime = f"XDG_RUNTIME_DIR=/run/user/{self.entry.pw_uid}"
        prefix = (
            ["runuser", "-u", self.name, "--", "env", f"HOME={self.entry.pw_dir}", runtime]
            if self.user
            else []
        )
        command = [*prefix, *(str(word) for word in words)]
        directory = cwd or Path(self.entry.pw_dir)
        return subprocess.run(
            command, cwd=directory, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )

    def systemctl(self, *words: object) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", *(["--user"] if self.user else []), *words)

    def show(self, unit: str, name: str) -> str:
        return self.systemctl("show", "-P", name, unit).stdout.strip()

    def active(self, unit: str) -> bool:
        return self.show(unit, "ActiveState") == "active"

    def give(self, path: Path, content: bytes, mode: int = 0o600) -> Path:
        """A file of this account, with its directories."""
        made = [each for each in (path, *path.parents) if not each.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        for each in made:
            os.chown(each, self.entry.pw_uid, self.entry.pw_gid)
        return path


class Service:
    """A unit of one account, and the client for its daemon."""

    def __init__(self, account: Account, role: str, home: Path) -> None:
        self.account, self.unit, self.home = account, f"p2pd-{role}.service", home
        self.label = f"{self.unit} of {account.name}"

    def ctl(self, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self.account.run("p2pctl", "--home", self.home, *words, cwd=cwd)

    @property
    def process(self) -> Path:
        return Path("/proc") / self.account.show(self.unit, "MainPID")

    def start(self) -> None:
        """Starts it, and watches that it is active only when it answers, and its socket there only when it is usable."""
        self.account.systemctl("start", "--no-block", self.unit)
        early, deadline = [], time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            active, there = self.account.active(self.unit), (self.home / "control.sock").exists()
            answers = (active or there) and self.ctl("ping").returncode == 0
            if (active or there) and not answers:
                early.append("active" if active else "control.sock")
            if active and answers:
                break
        status = self.account.systemctl("status", "--no-pager", self.unit).stdout
        check(
            f"{self.label} starts",
            self.account.active(self.unit),
            "" if self.account.active(self.unit) else status,
        )
        check(f"{self.label} is active, and its socket there, only when it answers", not early, early)

    def exposed(self) -> None:
        words = [
            "systemd-analyze",
            *(["--user"] if self.account.user else []),
            "security",
            "--no-pager",
            self.unit,
        ]
        found = re.search(r"Overall exposure level for \S+ ([\d.]+)", self.account.run(*words).stdout)
        check(
            f"{self.label} is exposed less than {MOST}",
            bool(found and float(found[1]) < MOST),
            found and found[1],
        )

    def walls(self) -> None:
        """The directives in effect, seen at the process itself."""
        status = dict(re.findall(r"^(\w+):\s*(.*)$", (self.process / "status").read_text(), re.MULTILINE))
        rights = {name: status[name] for name in ("CapBnd", "CapEff", "NoNewPrivs", "Seccomp")}
        right = int(rights["CapBnd"], 16) == int(rights["CapEff"], 16) == 0 and rights["NoNewPrivs"] == "1"
        check(f"{self.label} has no rights, and filters", right and rights["Seccomp"] == "2", rights)
        mounts: dict[str, str] = {}  # the last one covers those before
        for line in (self.process / "mountinfo").read_text().splitlines():
            mounts[line.split()[4]] = line.split()[5].split(",")[0]
        wanted = {
            "/": "ro",
            "/tmp": "ro",
            "/var/tmp": "ro",
            "/dev": "ro",
            "/proc/sys": "ro",
            "/sys/fs/cgroup": "ro",
        }
        found = {path: mounts.get(path) for path in wanted}
        right = all(
            found[path] == wanted[path] for path in found if found[path] or path != "/proc/sys"
        )  # ProcSubset=
        check(f"{self.label} sees a read-only system and its own /tmp and /dev", right, found)
        inside = self.process / "root"
        more = sorted({each.name for each in (inside / "dev").iterdir()} - DEVICES)
        check(f"{self.label} sees no devices", not more, more)
        if self.account.user:
            runtime = inside / f"run/user/{self.account.entry.pw_uid}"
            names = sorted(each.name for each in runtime.iterdir())
            check(
                f"{self.label} sees no bus of the session",
                set(names) <= {"credentials", "systemd", self.unit[:-8]},
                names,
            )
            keys = self.account.place / ".ssh"
            hidden = list(keys.iterdir()) != [] and list((inside / keys.relative_to("/")).iterdir()) == []
            check(f"{self.label} sees no keys", hidden)

    def reload(self, settings: Path) -> None:
        before = settings.read_text()
        settings.write_text(before + '[limit]\nup = "20M"\n')
        done = self.account.systemctl("reload", self.unit)
        value = self.ctl("config", "get", "limit.up").stdout.strip()
        check(f"{self.label} reloads", done.returncode == 0 and value == "20971520", value)
        settings.write_text(before + "[daemon]\nnise = 3\n")
        done = self.account.systemctl("reload", self.unit)
        check(
            f"{self.label} goes on after a wrong setting",
            done.returncode != 0 and self.account.active(self.unit),
        )
        settings.write_text(before)
        os.kill(int(self.process.name), signal.SIGHUP)
        back = until(lambda: self.ctl("config", "get", "limit.up").stdout.strip() == "0", 30)
        check(f"{self.label} reloads at SIGHUP", back)

    def stop(self) -> None:
        began = time.monotonic()
        self.account.systemctl("stop", self.unit)
        took = time.monotonic() - began
        result = self.account.show(self.unit, "Result"), self.account.show(self.unit, "ExecMainStatus")
        gone = not (self.home / "control.sock").exists()
        check(f"{self.label} stops", result == ("success", "0") and gone, f"{result}, {took:.1f} s")


def install() -> tuple[Service, Service, Service, Service]:
    """As docs/operations.md says. The tracker and a peer of the system, and a peer of each of two users."""
    for name in ("p2pd", "p2pctl"):
        Path("/usr/local/bin", name).symlink_to(f"/opt/p2pd/bin/{name}")
    for unit in (UNITS / "system").glob("*.service"):
        shutil.copy(unit, "/etc/systemd/system")
    Path("/etc/sysusers.d").mkdir(exist_ok=True)
    shutil.copy(UNITS / "sysusers.d/p2pd.conf", "/etc/sysusers.d")
    shutil.copytree(SOURCE / "packaging/config", "/etc/p2pd")
    root = Account("root")
    root.run("systemd-sysusers")
    root.give(Path("/etc/p2pd/password"), PASSWORD.encode())
    root.systemctl("daemon-reload")
    shared = Path("/srv/p2pd")
    shared.mkdir()
    shutil.chown(shared, "p2pd", "p2pd")
    users = []
    for number, name in enumerate(("ana", "ben")):
        root.run("useradd", "--create-home", "--shell", "/bin/sh", name)
        user = Account(name)
        (home := user.place).chmod(0o700)
        settings = f'[peer]\nlisten = "{8011 + number}"\ntrackers = ["localhost"]\n'
        user.give(home / ".config/p2pd/p2pd.toml", settings.encode())
        user.give(home / ".config/p2pd/password", PASSWORD.encode())
        user.give(home / ".ssh/id", b"a key")
        user.give(home / "Downloads/.keep", b"")
        for unit in (UNITS / "user").glob("*.service"):
            user.give(home / ".config/systemd/user" / unit.name, unit.read_bytes(), 0o644)
        for program in ("p2pd", "p2pctl"):
            user.give(home / ".local/bin/.keep", b"")
            (home / ".local/bin" / program).symlink_to(f"/opt/p2pd/bin/{program}")
        root.run("loginctl", "enable-linger", name)
        until(lambda uid=user.entry.pw_uid: Path(f"/run/user/{uid}/bus").exists())  # type: ignore[misc]
        users.append(user)
    return (
        Service(root, "tracker", Path("/var/lib/p2pd-tracker")),
        Service(root, "peer", Path("/var/lib/p2pd-peer")),
        *(Service(user, "peer", user.place / ".local/state/p2pd/peer") for user in users),
    )


def share(system: Service, ana: Service, ben: Service) -> None:
    """Files of a home travel between users, and to the service of the system; and what is behind a wall is told."""
    content = os.urandom(SIZE)
    film = ana.account.give(ana.account.place / "Documents/film.bin", content)
    check("ana shares a file of her home", ana.ctl("add", film).returncode == 0)
    seen = until(lambda: "film.bin" in ben.ctl("search", "film").stdout)
    check("ben finds it", seen)
    into = ben.account.place / "Downloads"
    done = ben.ctl("download", "film.bin", cwd=into)
    got = into / "downloaded_film.bin"
    check("ben has it in ~/Downloads", got.exists() and got.read_bytes() == content, done.stderr)
    done = system.ctl("download", "film.bin", "-o", "/srv/p2pd/")
    got = Path("/srv/p2pd/downloaded_film.bin")
    check("the system's peer has it in /srv/p2pd", got.exists() and got.read_bytes() == content, done.stderr)
    hook = b'#!/bin/sh\nt=$(mktemp) && echo "$t" > ~/Downloads/hooked\n'
    ben.ctl("config", "set", "hooks.download_done", ben.account.give(ben.account.place / "hook", hook, 0o700))
    ben.ctl("download", "film.bin", "-o", "again.bin", cwd=into)
    check("a hook has run, with temporary files", until((into / "hooked").exists, 30))
    piped = ben.account.run("sh", "-c", f"p2pctl download film.bin -o - > {ben.account.place}/piped.bin")
    check(
        "ben has it anywhere through a pipe",
        (ben.account.place / "piped.bin").read_bytes() == content,
        piped.stderr,
    )
    for service, directory in ((ben, ben.account.place), (ben, Path("/tmp")), (system, Path("/tmp"))):
        done = service.ctl("download", "film.bin", "-o", directory / "no.bin")
        told = done.returncode == 10 and "cannot write in" in done.stderr and "ReadWritePaths=" in done.stderr
        check(f"{service.label} does not write to {directory}, and says so", told, done.stderr)
    done = ana.ctl("add", ana.account.place / ".ssh/id")
    check("ana's keys are not shared", done.returncode == 10, done.stderr)
    there = ana.account.give(Path("/tmp/there"), b"there")
    done = ana.ctl("add", there)
    check(
        "what only the client sees is told",
        done.returncode == 4 and "it is there for you" in done.stderr,
        done.stderr,
    )
    drop = b"[Service]\nReadWritePaths=%h/Videos -/media/disk\n"
    ben.account.give(ben.account.place / "Videos/.keep", b"")
    where = ben.account.place / ".config/systemd/user/p2pd-peer.service.d/files.conf"
    ben.account.give(where, drop)
    ben.account.systemctl("daemon-reload")
    ben.account.systemctl("restart", ben.unit)
    ben.ctl("ping", "--wait-daemon", "30")
    done = ben.ctl("download", "film.bin", "-o", ben.account.place / "Videos/film.bin")
    check(
        "ben has it in ~/Videos after a drop-in",
        (ben.account.place / "Videos/film.bin").exists(),
        done.stderr,
    )


def watchdog(services: list[Service]) -> None:
    before = {service.label: service.process for service in services}
    for service in services:
        os.kill(int(service.process.name), signal.SIGSTOP)
    began = time.monotonic()
    for service in services:

        def back(service: Service = service) -> bool:
            pid = service.process
            return pid not in (before[service.label], Path("/proc/0")) and service.account.active(
                service.unit
            )

        again = until(back)
        count = service.account.show(service.unit, "NRestarts")
        found = f"after {time.monotonic() - began:.0f} s, restarts {count}"
        check(f"{service.label} hangs and is started anew", again and count == "1", found)
        listed = json.loads(service.ctl("--json", "status").stdout or "{}")
        check(f"{service.label} answers again", bool(listed.get("items")))


def journal(root: Account) -> None:
    text = root.run("journalctl", "-b", "--no-pager").stdout
    lines = [line for line in text.splitlines() if "p2p" in line and DENIALS.search(line)]
    check("the journal has no denials", not lines, "\n".join(lines[:10]))


def without_namespaces(ben: Service) -> None:
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    ben.account.systemctl("restart", ben.unit)
    status = ben.account.show("p2pd-state.service", "ExecMainStatus")
    check(
        "without namespaces a user's unit does not start",
        not ben.account.active(ben.unit) and status == "217",
        status,
    )
    conf = (UNITS / "no-namespaces.conf").read_bytes()
    ben.account.give(ben.account.place / ".config/systemd/user/p2pd-.service.d/no-namespaces.conf", conf)
    ben.account.systemctl("daemon-reload")
    ben.account.systemctl("start", ben.unit)
    check("with the drop-in it does", ben.account.active(ben.unit) and ben.ctl("ping").returncode == 0)
    check("and reloads", ben.account.systemctl("reload", ben.unit).returncode == 0)


def main() -> None:
    root = Account("root")
    say(f"-- {root.run('systemctl', '--version').stdout.splitlines()[0]}, Linux {os.uname().release}")
    tracker, system, ana, ben = everything = install()
    for service in everything:
        service.start()
        service.exposed()
        service.walls()
    share(system, ana, ben)
    for service, settings in (
        (system, Path("/etc/p2pd/peer.toml")),
        (ana, ana.account.place / ".config/p2pd/p2pd.toml"),
    ):
        service.reload(settings)
    watchdog([tracker, system, ana])
    (ben.account.place / ".config/p2pd/password").unlink()
    ben.account.systemctl("restart", ben.unit)
    check(
        "ben's peer starts without the password file, with the key in its home", ben.account.active(ben.unit)
    )
    own = Service(ana.account, "tracker", ana.account.place / ".local/state/p2pd/tracker")
    tracker.stop()  # it has the port
    own.start()
    own.exposed()
    own.walls()
    for service in (own, ana, ben, system):
        service.stop()
    journal(root)
    without_namespaces(ben)
    say("-- end")


if __name__ == "__main__":
    main()
