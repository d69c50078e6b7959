"""Makes the root of a machine of its own and boots it with systemd: python -m tests.fakes.booted_root DIRECTORY

The rule: started in namespaces and a cgroup of its own (booted.py), as root, by the process that is to become the first one. The root is
this machine's, with a layer above it that takes whatever is written and goes with the namespace; of what an administrator or a user
may have put into /etc/systemd, /opt, /srv, /usr/local/bin or a home it knows nothing. Whoever is in it is alone on a network of its
own. Kernel, clock and devices of the machine outside are left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

from tests.fakes import wheels
from tests.fakes.snippet_machine import PASSWORD, ROOT, SETTLED, USER

ADDRESS = "192.168.1.100"
SYSTEM = "/usr/lib/systemd/systemd"
LAYERED = ("bin", "etc", "lib", "lib32", "lib64", "sbin", "usr", "var")
"""Where file systems of the machine outside are looked into, when they are mounted in its root."""
EMPTY = ("home", "root", "run", "tmp", "opt", "srv", "usr/local/bin")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
FORGOTTEN = (
    "data",
    "etc/p2pd",
    "etc/systemd/system",
    "etc/systemd/user",
    "etc/sysusers.d/p2pd.conf",
    "var/lib/p2pd-peer",
    "var/lib/p2pd-tracker",
    "var/lib/private",
    "var/lib/systemd/linger",
)
MASKED = (  # what would speak with the kernel for the machine outside
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "modprobe@.service",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-remount-fs.service",
    "systemd-udevd.service",
    "systemd-journald-audit.socket",
    "systemd-timesyncd.service",
)
TARGET = """[Unit]
Description=What the tests need
Requires=basic.target
Wants=dbus.socket systemd-logind.service systemd-user-sessions.service
After=basic.target dbus.socket systemd-logind.service systemd-user-sessions.service
"""
FILES = {
    "etc/fstab": "",
    "etc/machine-id": "",
    "etc/hostname": "machine\n",
    "etc/hosts": f"127.0.0.1 localhost machine\n{ADDRESS} tracker.example host.example\n",
    "etc/systemd/system/tests.target": TARGET,
    # A user's services end with the last session, at once, unless they linger.
    "etc/systemd/logind.conf.d/tests.conf": "[Login]\nUserStopDelaySec=0\nKillUserProcesses=yes\n",
    "etc/systemd/journald.conf.d/tests.conf": "[Journal]\nStorage=volatile\nRateLimitBurst=0\n",
    "etc/pip.conf": "[global]\nno-index = true\nfind-links = /usr/local/share/wheels\ndisable-pip-version-check = true\n",
}
BASE = "/usr" if sys.base_prefix == "/usr" else "/opt/python"
"""Where our Python is there: it may be in a home, which no service can see."""
PYTHON = f"{BASE}/bin/python3.{sys.version_info.minor}"
PROGRAMS = {
    "settled": SETTLED.replace(sys.executable, PYTHON),
    "restarted": """#!/bin/sh
# restarted [--user] UNIT: whether it was started since the last time that somebody asked this.
kept=/var/tmp/restarted-$(id -u)
now=$(systemctl show -P InvocationID "$@")
before=$(cat "$kept" 2> /dev/null)
echo "$now" > "$kept"
test -n "$now" && test "$now" != "$before"
""",
    "pipx": f"""#!{PYTHON}
import sys
sys.path.insert(0, "/usr/local/lib/pipx")
from pipx.main import cli
sys.exit(cli())
""",
}


def run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, stdin=subprocess.DEVNULL)


def layers(root: Path, above: Path) -> None:
    """The file systems of the machine outside, each under a layer of `above` that takes what is written."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    inner = [
        point
        for point in sorted(set(points))
        if "\\" not in point and point.split("/")[1] in LAYERED and Path(point).is_dir()
    ]
    for number, point in enumerate(["/", *inner]):
        upper, work = above / f"upper{number}", above / f"work{number}"
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir={point},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "-o", options, "overlay", f"{root}{point}")


def empty(root: Path) -> None:
    """What is another one: processes, devices, and the directories that snippets write to."""
    for name in FORGOTTEN:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in (*EMPTY, "proc", "sys", "dev"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in EMPTY:
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root / name)
    (root / "tmp").chmod(0o1777)
    (root / "root").chmod(0o700)
    run("mount", "-t", "proc", "proc", root / "proc")
    run("mount", "--bind", root / "proc/sys", root / "proc/sys")
    run("mount", "-o", "remount,bind,ro", root / "proc/sys")
    run("mount", "-t", "sysfs", "-o", "ro", "sysfs", root / "sys")
    run("mount", "-t", "tmpfs", "tmpfs", root / "sys/fs/cgroup")
    run("mount", "-t", "cgroup2", "cgroup2", root / "sys/fs/cgroup")
    device = root / "dev"
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", device)
    for name in DEVICES:
        (device / name).touch()
        run("mount", "--bind", f"/dev/{name}", device / name)
    for name, options in (("pts", "newinstance,ptmxmode=666,mode=620"), ("shm", "mode=1777")):
        (device / name).mkdir()
        run("mount", "-t", "devpts" if name == "pts" else "tmpfs", "-o", options, name, device / name)
    for name, there in {
        "ptmx": "pts/ptmx",
        "fd": "/proc/self/fd",
        "stdin": "fd/0",
        "stdout": "fd/1",
        "stderr": "fd/2",
    }.items():
        (device / name).symlink_to(there)


def furnish(root: Path) -> None:
    """Python and pip as here, and the sources, where root and a user have cloned them."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).unlink(missing_ok=True)
        (root / name).write_text(text)
    for name in MASKED:
        (root / "etc/systemd/system" / name).symlink_to("/dev/null")
    for name, text in PROGRAMS.items():
        (root / "usr/local/bin" / name).write_text(text)
        (root / "usr/local/bin" / name).chmod(0o755)
    if sys.base_prefix != BASE:
        (root / BASE[1:]).mkdir()
        run("mount", "--bind", sys.base_prefix, f"{root}{BASE}")
        (root / "etc/ld.so.conf.d/python.conf").write_text(f"{BASE}/lib\n")
        run("ldconfig", "-r", root)
        (root / "etc/profile.d/python.sh").write_text(f"PATH={BASE}/bin:$PATH\n")
    there = root / "usr/local/share/wheels"
    there.mkdir(parents=True, exist_ok=True)
    libraries = [Requirement(line) for line in requires("p2pd") or ()]
    names = [each.name for each in libraries if each.marker is None]
    for installed in wheels.needed([*names, "setuptools", "pip", "pipx"]).values():
        wheels.write(installed, there)
    (root / "usr/local/lib/pipx").mkdir(parents=True)
    for installed in wheels.needed(["pipx"]).values():
        shutil.unpack_archive(wheels.write(installed, root / "tmp"), root / "usr/local/lib/pipx", "zip")
    entries = (root / "etc/passwd").read_text()
    if re.search(f"^{USER}:", entries, re.MULTILINE):
        run("userdel", "--root", root, USER)
    run("useradd", "--root", root, "--create-home", "--shell", "/bin/bash", USER)
    for home in ("root", f"home/{USER}"):
        clone(root / home / "p2pd")
    run("chroot", root, "chown", "-R", f"{USER}:", f"/home/{USER}")


def clone(to: Path) -> None:
    words = ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z", "--cached", "--others"]
    listed = subprocess.run([*words, "--exclude-standard"], stdout=subprocess.PIPE, check=True)
    for name in listed.stdout.decode().split("\0")[:-1]:
        if (ROOT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    (to / "secret.txt").write_text(PASSWORD + "\n")


def boot(root: Path) -> None:
    """Becomes the first process of the machine. Does not come back."""
    for command in (
        "link set lo up",
        f"address add {ADDRESS}/24 dev lo",
        f"route add default dev lo src {ADDRESS}",
    ):
        run("ip", *command.split())
    os.chdir(root)
    Path("outside").mkdir()
    run("pivot_root", ".", "outside")
    os.chroot(".")
    os.chdir("/")
    run("umount", "--lazy", "/outside")
    Path("/outside").rmdir()
    run("mount", "--make-rshared", "/")  # what a service mounts for itself is to be seen by it
    os.setpriority(
        os.PRIO_PROCESS, 0, 0
    )  # a user's systemd could not start a unit with a scheduling policy and less niceness than its own
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    words = ["--system", "--unit=tests.target", "--log-target=journal", "--show-status=no"]
    drop = "--bounding-set=-sys_module,-sys_rawio,-sys_time"
    environ = {"container": "tests", "PATH": path, "LANG": "C.UTF-8"}
    os.execvpe("setpriv", ["setpriv", drop, SYSTEM, *words], environ)


def main() -> None:
    above = Path(sys.argv[1])
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", above)
    root = above / "root"
    root.mkdir()
    layers(root, above)
    empty(root)
    furnish(root)
    boot(root)


if __name__ == "__main__":
    main()
