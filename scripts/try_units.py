"""The units of packaging/systemd on a real systemd: python scripts/try_units.py [--suite trixie]. As root; takes some ten minutes.

Makes a root of Debian with debootstrap, installs p2pd and its units into it as docs/operations.md says, boots it in a virtual machine of
software emulation (or of KVM, with --kvm), and shows what try_units_inside.py finds there. Exit status 0 only if all of it is right.
Nothing of this machine is changed: everything happens in a temporary directory, and the guest has no way to the network but NAT.

Needs debootstrap, qemu-system-x86_64 and mke2fs (Debian: debootstrap qemu-system-x86 e2fsprogs), a mirror of Debian and PyPI; amd64.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INSIDE = ROOT / "scripts/try_units_inside.py"
PACKAGES = (
    "systemd systemd-sysv libpam-systemd dbus dbus-user-session udev kmod iproute2 procps "
    "python3 python3-venv ca-certificates linux-image-cloud-amd64 initramfs-tools"
)
SIZE = "4G"  # sparse
MEMORY = "2048"  # MiB
LIMIT_S = 1800.0
GLIBC = 45  # wheels for this minor version and older ones are asked for

SERVICE = """[Unit]
Description=Tries the units of p2pd
Wants=network-online.target
After=network-online.target systemd-user-sessions.service
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
ExecStart=/opt/p2pd/bin/python /root/source/scripts/try_units_inside.py
StandardOutput=file:/dev/ttyS1
StandardError=inherit
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
"""
NETWORK = "[Match]\nName=e*\n[Network]\nDHCP=yes\n"


def run(*words: str | Path) -> None:
    """Runs a program of which only a failure is shown."""
    done = subprocess.run(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        sys.stdout.buffer.write(done.stdout[-4000:])
        raise SystemExit(f"{words[0]} ended with {done.returncode}")


def say(text: str) -> None:
    print(f"-- {text}", flush=True)


def debian(root: Path, suite: str, mirror: str) -> None:
    """A root of Debian that boots to a system with the network up and root's program started."""
    say(f"Debian {suite}")
    packages = PACKAGES.replace(" ", ",")
    run("debootstrap", "--variant=minbase", f"--include={packages}", suite, root, mirror)
    (root / "etc/hostname").write_text("units\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost units\n::1 localhost\n")
    (root / "etc/systemd/network/any.network").write_text(NETWORK)
    (root / "etc/systemd/system/try-units.service").write_text(SERVICE)
    units = ("systemd-networkd", "systemd-networkd-wait-online", "try-units")
    run("systemctl", f"--root={root}", "enable", *units)


def install(root: Path) -> None:
    """p2pd in /opt/p2pd, the sources in /root/source. The wheels are fetched here, so that the root needs no network yet."""
    python = os.readlink(root / "usr/bin/python3").removeprefix("python")
    say(f"p2pd for Python {python}")
    source = root / "root/source"
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], stdout=subprocess.PIPE, check=True).stdout
    for name in names.decode().split("\0")[:-1]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    wheels = root / "root/wheels"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", wheels, source)
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(17, GLIBC)]
    platforms += [
        "--platform=manylinux2014_x86_64",
        "--platform=linux_x86_64",
    ]  # the last is p2pd's own, with its native part
    only = ("--only-binary=:all:", f"--python-version={python}")
    run(*pip, "download", *only, *platforms, "--dest", wheels, *wheels.glob("p2pd-*.whl"))
    run("chroot", root, "python3", "-m", "venv", "/opt/p2pd")
    local = ("--no-index", "--find-links=/root/wheels", "--disable-pip-version-check")
    run("chroot", root, "/opt/p2pd/bin/pip", "install", *local, "p2pd")


def boot(root: Path, work: Path, accelerator: str) -> list[str]:
    """Boots the root, shows the lines of the report as they come, and gives them back."""
    image, console, report = work / "disk.img", work / "console.log", work / "report.log"
    run("mke2fs", "-q", "-t", "ext4", "-d", root, image, SIZE)
    words = [
        "qemu-system-x86_64",
        "-machine",
        f"q35,accel={accelerator}",
        "-cpu",
        "max",
        "-smp",
        "2",
        "-m",
        MEMORY,
    ]
    words += ["-display", "none", "-no-reboot", "-serial", f"file:{console}", "-serial", f"file:{report}"]
    words += ["-kernel", str(root / "vmlinuz"), "-initrd", str(root / "initrd.img")]
    words += ["-append", "root=/dev/vda rw console=ttyS0 panic=-1"]
    words += ["-drive", f"file={image},format=raw,if=virtio", "-device", "virtio-rng-pci"]
    words += ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"]
    say(f"booting; the console is in {console}")
    machine = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    shown: list[str] = []
    deadline = time.monotonic() + LIMIT_S
    try:
        while True:
            running = machine.poll() is None
            text = report.read_text(errors="replace") if report.exists() else ""
            lines = [line for line in text.replace("\r", "").split("\n")[:-1] if line]
            for line in lines[len(shown) :]:
                print(line, flush=True)
            shown = lines
            if not running or time.monotonic() > deadline:
                return shown
            time.sleep(1.0)
    finally:
        machine.kill()
        machine.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description="Tries the units of packaging/systemd in a virtual machine.")
    parser.add_argument("--suite", default="bookworm", help="release of Debian (bookworm)")
    parser.add_argument("--mirror", default="https://deb.debian.org/debian", help="where Debian comes from")
    parser.add_argument("--kvm", action="store_true", help="not the emulation of a processor: much faster")
    parser.add_argument(
        "--keep", action="store_true", help="leave the directory with the root and the console"
    )
    values = parser.parse_args()
    missing = [
        name for name in ("debootstrap", "qemu-system-x86_64", "mke2fs", "git") if not shutil.which(name)
    ]
    if missing or os.geteuid() != 0:
        print(f"needs root, and these programs: {' '.join(missing) or 'which are there'}", file=sys.stderr)
        return 2
    work = Path(tempfile.mkdtemp(prefix="try-units-"))
    try:
        debian(work / "root", values.suite, values.mirror)
        install(work / "root")
        lines = boot(work / "root", work, "kvm" if values.kvm else "tcg")
    finally:
        if not values.keep:
            shutil.rmtree(work, ignore_errors=True)
    failed = [line for line in lines if line.startswith("FAILED")]
    if not lines or lines[-1] != "-- end" or failed:
        print(f"{len(failed)} failed" if failed else "the guest did not come to the end")
        return 1
    print(f"all {sum(line.startswith('ok') for line in lines)} right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
