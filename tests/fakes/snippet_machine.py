"""The machine of its own on which snippets are run: an address, an empty /home, and programs that stand for what a reader has.

The rule: called in namespaces of their own only (snippet_runner.alone). A page uses the programs in `run` comments: `swarm`, `settled`,
`server`, `database`, `checkout`, `tools`, `refused`, `over`; each says in its first lines what it does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
USER = "me"
HOME = Path("/home") / USER
ADDRESS = "192.168.1.100"
PASSWORD = "correct horse battery staple"


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


CHECKOUT = f"""#!/bin/bash
# checkout: a copy of the sources in ~/p2pd, as a clone would be. pip finds what is built in the environment of the tests, for
# there is no network: what it makes and installs is made from the copy.
set -e
mkdir "$HOME/p2pd"
cd {ROOT}
git -c safe.directory={ROOT} ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    test ! -e "$file" || printf '%s\\0' "$file"
done | xargs -0 cp --parents -t "$HOME/p2pd"
"""


TOOLS = f"""#!/bin/bash
# tools: what pip would bring for the tests is in .venv of the copy in which we are, before make makes the rest.
set -e
libraries=.venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages
mkdir -p .venv/bin $libraries
echo $LIBRARIES > $libraries/libraries.pth
printf '#!/bin/sh\\nexec {Path(sys.executable).parent}/ruff "$@"\\n' > .venv/bin/ruff
printf '#!/bin/sh\\nexec .venv/bin/python -m mypy "$@"\\n' > .venv/bin/mypy
printf '#!/bin/sh\\nexec .venv/bin/python {Path(sys.executable).parent}/lint-imports "$@"\\n' > .venv/bin/lint-imports
chmod +x .venv/bin/*
"""


REFUSED = """#!/bin/bash
# refused FILE TEXT WORDS: with TEXT (\\n: a new line) at the end of FILE `make test` ends with an error, and says WORDS.
# Then FILE is as it was.
cp "$1" /tmp/as-it-was 2> /dev/null || rm -f /tmp/as-it-was
printf "$2" >> "$1"
printed=$(make test 2>&1)
status=$?
rm "$1"
test ! -e /tmp/as-it-was || cp /tmp/as-it-was "$1"
if [ $status = 0 ] || ! grep -qF -e "$3" <<< "$printed"; then
    echo "make test ended with $status, and should have refused $1 with: $3"
    echo "$printed"
    exit 1
fi
"""


OVER = """#!/bin/bash
# over DIRECTORY...: from now on they are copies, in which anything may be made.
set -e
shopt -s nullglob dotglob
for directory; do
    copy=$(mktemp -d /home/over.XXXXXX)
    chmod 755 "$copy"
    for entry in "$directory"/*; do
        name=$copy/${entry##*/}
        if [ -L "$entry" ] || [ "$directory" = /etc ]; then
            cp -a "$entry" "$copy" 2> /dev/null || true
        elif [ -d "$entry" ]; then
            mkdir "$name" && mount --rbind "$entry" "$name"
        else
            touch "$name" && mount --bind "$entry" "$name"
        fi
    done
    mount --rbind "$copy" "$directory"
done
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
    scripts |= dict.fromkeys(("python", "python3"), f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    asked = HOME / ".asked-programs"
    asked.mkdir()
    podman = f'#!/bin/sh\nexec env PYTHONPATH={ROOT} {sys.executable} -m tests.fakes.asked "$@"\n'
    (asked / "podman").write_text(podman)
    (asked / "podman").chmod(0o755)
    for name, text in {
        **scripts,
        "swarm": SWARM,
        "settled": SETTLED,
        "server": SERVER,
        "database": DATABASE,
        "checkout": CHECKOUT,
        "over": OVER,
        "tools": TOOLS,
        "refused": REFUSED,
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}",
        "PYTHONUTF8": "1",
        "CHECKOUT": str(ROOT),
        "ASKED": str(asked),
        # What a venv of its own finds beside what is installed into it: the libraries.
        "LIBRARIES": sysconfig.get_path("purelib"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "HOME": str(HOME),
        "USER": USER,
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "PGHOST": ADDRESS,
        "PGUSER": "postgres",
        "COLUMNS": "140",
    }
