"""What each command is answered by the fake daemon, and what it then prints in each shape."""

from __future__ import annotations

from typing import Any

from tests.p2pctl import samples
from tests.p2pctl.samples import ID, OTHER, SHA256, SHARED_AT, page

PLANS: dict[str, tuple[str, Any, list[str], list[dict[str, Any]], str | None, str]] = {
    # command: method, answer, argv, items, human, quiet
    "list": (
        "list",
        page(samples.share(), samples.share(id=OTHER, name="b", size_bytes=5, state="missing")),
        ["list"],
        [samples.share(), samples.share(id=OTHER, name="b", size_bytes=5, state="missing")],
        "example.txt - Size: 1024 bytes\nb - Size: 5 bytes (missing)\n",
        f"{ID}\n{OTHER}\n",
    ),
    "remove": (
        "remove",
        samples.share(removed=True),
        ["remove", "example.txt"],
        [samples.share(removed=True)],
        "Removed example.txt from shared files\n",
        f"{ID}\n",
    ),
    "search": (
        "search",
        page(samples.hit(), samples.hit(id=OTHER, size_bytes=5, shared_at=None, sources=10)),
        ["search", "example"],
        [samples.hit(), samples.hit(id=OTHER, size_bytes=5, shared_at=None, sources=10)],
        None,  # the age moves on: see TestSearch
        f"{ID}\n{OTHER}\n",
    ),
    "all_files": (
        "all_files",
        page(samples.hit(shared_at=None)),
        ["all-files"],
        [samples.hit(shared_at=None)],
        "ID           SIZE  SOURCES  AGE  NAME\n7f3a91c2  1.4 GiB        3    -  example.txt\n",
        f"{ID}\n",
    ),
    "info": (
        "info",
        samples.hit(
            names=["example.txt", "same.txt"],
            size_bytes=3 * 2**20,
            pieces=3,
            piece_size_bytes=2**20,
            path="/d/e",
            state="shared",
            peers=[samples.peer(host="fd00::1")],
        ),
        ["info", "example.txt"],
        [
            samples.hit(
                names=["example.txt", "same.txt"],
                size_bytes=3 * 2**20,
                pieces=3,
                piece_size_bytes=2**20,
                path="/d/e",
                state="shared",
                peers=[samples.peer(host="fd00::1")],
            )
        ],
        "name    example.txt\n"
        "also    same.txt\n"
        f"id      {ID}\n"
        f"sha256  {SHA256}\n"
        "size    3.0 MiB (3145728 bytes)\n"
        "pieces  3 of 1.0 MiB\n"
        f"shared  {SHARED_AT}\n"
        "here    /d/e (shared)\n"
        f"source  [fd00::1]:8001  {'d' * 32}\n",
        f"{ID}\n",
    ),
    "peers": (
        "peers",
        page(samples.peer(), samples.peer(host="fd00::1", device_id="e" * 32, self=True, files=None)),
        ["peers"],
        [samples.peer(), samples.peer(host="fd00::1", device_id="e" * 32, self=True, files=None)],
        "ADDRESS             FILES  DEVICE\n"
        f"192.168.1.100:8001      3  {'d' * 32}\n"
        f"[fd00::1]:8001          -  {'e' * 32} (this device)\n",
        f"{'d' * 32}\n{'e' * 32}\n",
    ),
    "transfers": (
        "transfers",
        page(samples.begun(received_bytes=512, eta_s=2.0), samples.transfer(transfer="t-0", size_bytes=0)),
        ["transfers"],
        [samples.begun(received_bytes=512, eta_s=2.0), samples.transfer(transfer="t-0", size_bytes=0)],
        "TRANSFER  STATE        DONE     SIZE        RATE   LEFT  SOURCES  NAME\n"
        "t-1       downloading   50%  1.0 KiB  10.0 KiB/s  2.0 s        0  example.txt\n"
        "t-0       done         100%      0 B  10.0 KiB/s      -        1  example.txt\n",
        "t-1\nt-0\n",
    ),
    "cancel": (
        "cancel",
        samples.begun(state="cancelled", changed=True),
        ["cancel", "t-1"],
        [samples.begun(state="cancelled", changed=True)],
        "Cancelled t-1 (example.txt)\n",
        "t-1\n",
    ),
    **{
        command: (
            command,
            samples.begun(changed=True),
            [command, "t-1"],
            [samples.begun(changed=True)],
            f"{word} t-1 (example.txt)\n",
            "t-1\n",
        )
        for command, word in (("pause", "Paused"), ("resume", "Resumed"), ("retry", "Trying again"))
    },
    "wants": (
        "wants",
        page(samples.want(), samples.want(want="w-2", transfer="t-9", transfer_state="done")),
        ["wants"],
        [samples.want(), samples.want(want="w-2", transfer="t-9", transfer_state="done")],
        None,
        "w-1\nw-2\n",
    ),
    "unwant": (
        "unwant",
        samples.want(changed=True),
        ["unwant", "w-1"],
        [samples.want(changed=True)],
        "Gave up w-1 (holiday video)\n",
        "w-1\n",
    ),
    "bans": (
        "bans",
        page(samples.ban(), samples.ban(subject="10.0.0.0/8", kind="network", until_at=None, left_s=None)),
        ["bans"],
        [samples.ban(), samples.ban(subject="10.0.0.0/8", kind="network", until_at=None, left_s=None)],
        "BANNED                            LEFT      BECAUSE OF  REASON\n"
        f"{'d' * 32}  1h 0m     by hand     noise\n"
        "10.0.0.0/8                        for good  by hand     noise\n",
        f"{'d' * 32}\n10.0.0.0/8\n",
    ),
    "ban": (
        "ban",
        samples.ban(),
        ["ban", "d" * 32, "--for", "1h"],
        [samples.ban()],
        f"Banned {'d' * 32} for 1h 0m\n",
        f"{'d' * 32}\n",
    ),
    "unban": (
        "unban",
        {"subject": "d" * 32, "kind": "device", "changed": True},
        ["unban", "d" * 32],
        [{"subject": "d" * 32, "kind": "device", "changed": True}],
        f"Unbanned {'d' * 32}\n",
        f"{'d' * 32}\n",
    ),
    "tracker": (
        "tracker_peers",
        page(samples.LISTED),
        ["tracker", "peers"],
        [samples.LISTED],
        "ADDRESS             FILES  UNTIL                 DEVICE\n"
        f"192.168.1.100:8001      3  {SHARED_AT}  {'d' * 32}\n",
        f"{'d' * 32}\n",
    ),
    "status": (
        "status",
        samples.STATUS,
        ["status"],
        [samples.STATUS],
        "p2pd       0.1.0, pid 4711, up 5h 12m\n"
        "network    lab (key check k-3fd2a901)\n"
        f"device     {'d' * 32}\n"
        "peer       192.168.1.100:8001, 1 file shared (1.0 KiB), 2 uploads\n"
        "tracker    hub:9000 connected, 5 peers, 120 files, publishing\n"
        "tracker    old:9000 has another password, the password differs\n"
        "serving    tracker on 192.168.1.100:9000, 5 devices, 120 files\n"
        "transfers  1 active, 7 done\n"
        "rates      down 35.0 MiB/s, up 0 B/s\n",
        f"{'d' * 32}\n",
    ),
    "ping": (
        "ping",
        {"version": "0.1.0", "uptime_s": 5.0, "pid": 4711},
        ["ping"],
        [{"version": "0.1.0", "uptime_s": 5.0, "pid": 4711}],
        "p2pd 0.1.0 answers (pid 4711, up 5.0 s)\n",
        "4711\n",
    ),
    "shutdown": (
        "shutdown",
        {"pid": 4711, "stopping": True},
        ["shutdown", "--no-wait"],
        [{"pid": 4711, "stopping": True}],
        "p2pd (pid 4711) is stopping\n",
        "4711\n",
    ),
}
