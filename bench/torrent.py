"""One end of a libtorrent transfer, for bench/peers.py. Runs in whichever Python has libtorrent (Debian's), so it imports nothing of ours.

    torrent.py version
    torrent.py seed FILE TORRENT plain|encrypted        makes TORRENT unless it is there; prints the port it listens on; until stdin ends
    torrent.py fetch TORRENT PORT plain|encrypted       for each line on stdin, a directory: fetches into it, prints "SECONDS PEAK_BYTES"

TCP only, on loopback, and nothing else that finds peers. Encrypted means RC4 for all of the stream, refused otherwise. All the rest is as
libtorrent has it. PEAK_BYTES is anonymous memory: libtorrent maps the file itself, and those pages are the cache's.
"""

from __future__ import annotations

import os
import sys
import time

import libtorrent as lt

HOST = "127.0.0.1"
PIECE = 1 << 20
WAIT_MS = 20
V1_ONLY = 64  # create_torrent::v1_only: SHA-1 pieces, what most torrents have


def session(mode: str) -> lt.session:
    """Listens on a free port of loopback."""
    policy = lt.enc_policy.pe_forced if mode == "encrypted" else lt.enc_policy.pe_disabled
    return lt.session(
        {
            "listen_interfaces": f"{HOST}:0",
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "allow_multiple_connections_per_ip": True,
            "out_enc_policy": int(policy),
            "in_enc_policy": int(policy),
            "allowed_enc_level": int(lt.enc_level.pe_rc4),
            "prefer_rc4": True,
            "alert_mask": int(
                lt.alert.category_t.status_notification | lt.alert.category_t.error_notification
            ),
        }
    )


def make(source: str, torrent: str) -> None:
    """Writes the torrent of one file."""
    storage = lt.file_storage()
    lt.add_files(storage, source)
    made = lt.create_torrent(storage, PIECE, V1_ONLY)
    lt.set_piece_hashes(made, os.path.dirname(source))
    with open(torrent, "wb") as stream:
        stream.write(lt.bencode(made.generate()))


def until(ses: lt.session, handle: lt.torrent_handle) -> tuple[int, bool]:
    """Waits until the torrent is complete, every piece checked; the most anonymous memory seen meanwhile, and whether RC4 was used."""
    peak, encrypted = 0, False
    while not handle.status().is_seeding:
        ses.wait_for_alert(WAIT_MS)
        for alert in ses.pop_alerts():
            if isinstance(alert, lt.torrent_error_alert | lt.file_error_alert):
                raise SystemExit(str(alert))
        encrypted = encrypted or any(
            peer.flags & lt.peer_info.rc4_encrypted for peer in handle.get_peer_info()
        )
        peak = max(peak, anonymous())
    return max(peak, anonymous()), encrypted


def anonymous() -> int:
    """Octets of anonymous memory of this process."""
    with open("/proc/self/status") as stream:
        return int(stream.read().partition("RssAnon:")[2].split()[0]) * 1024


def seed(source: str, torrent: str, mode: str) -> None:
    if not os.path.exists(torrent):
        make(source, torrent)
    ses = session(mode)
    added = {"ti": lt.torrent_info(torrent), "save_path": os.path.dirname(source)}
    handle = ses.add_torrent({**added, "flags": lt.torrent_flags.seed_mode})
    until(ses, handle)
    print(ses.listen_port(), flush=True)
    sys.stdin.read()


def fetch(torrent: str, port: str, mode: str) -> None:
    ses = session(mode)
    for line in sys.stdin:
        began = time.perf_counter()
        handle = ses.add_torrent({"ti": lt.torrent_info(torrent), "save_path": line.rstrip("\n")})
        handle.connect_peer((HOST, int(port)))
        peak, encrypted = until(ses, handle)
        if encrypted != (mode == "encrypted"):
            raise SystemExit(f"asked for {mode}, and the stream was {'encrypted' if encrypted else 'plain'}")
        print(time.perf_counter() - began, peak, flush=True)
        ses.remove_torrent(handle)


def main() -> None:
    role, *words = sys.argv[1:]
    if role == "version":
        print(lt.__version__)
    elif role == "seed":
        seed(*words)
    else:
        fetch(*words)


if __name__ == "__main__":
    main()
