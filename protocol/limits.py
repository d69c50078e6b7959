"""Every bound of the protocol, each with its reason. Parsers check these before they allocate.

The table in docs/protocol.md quotes this file; tests/test_docs.py keeps the two equal, and needs one line for each.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

# -- messages ---------------------------------------------------------------------------------------------
MAX_CONTROL_MESSAGE = 32 * KIB  # a message to a listener; two hundred file entries fit
MAX_LISTENER_FRAME = 64 * KIB  # MAXMSGSIZE of a ROUTER: control message + record overhead, with room
MAX_BLOCK = 1 * MIB  # a block is at most a piece of the usual size; per-message cost in Python rules below
MIN_BLOCK = 16 * KIB  # what is asked of a slow source, but for the end of a piece: 64 of them make a piece
RECORD_OVERHEAD = 512  # type, sid, token, seq, header and padding around a payload
MAX_DIALER_FRAME = MAX_BLOCK + 4 * KIB  # MAXMSGSIZE of a DEALER
MAX_REPLY = 256 * KIB  # a control reply to a dialler (search hits, manifest part): bounded decode cost
MAX_HEADER = 65_535  # header length is a 16-bit field
MAX_ARRAY = 1024  # items in any list of a control message
MAX_MAP = 64  # keys in any map
MAX_STRING = 4 * KIB  # octets of any text
MAX_DEPTH = 8  # nesting of any message
HELLO_SIZE = 256  # padded, so that a HELLO is larger than its answer (no amplification)
MAX_OFFER = 192
MAX_PROOF = 1024  # PROVE and ACCEPT
MAX_REFUSE = 32
MAX_VERSIONS = 16  # offered in one HELLO
MAX_SOFTWARE = 64  # characters of the name a device gives its software

# -- secrets ----------------------------------------------------------------------------------------------
MIN_PASSWORD = 12  # characters typed by a person; an invite has 128 random bits
PBKDF2_ROUNDS = 600_000  # what OWASP asks of PBKDF2-HMAC-SHA256
PBKDF2_ROUNDS_MIN = 100_000
MAX_NETWORK_NAME = 64  # octets
ROTATION_SECONDS = 7 * 86_400  # how long the older of two network keys stays good, unless told otherwise
ROTATION_SECONDS_MAX = 30 * 86_400  # who holds it is a member for so long

# -- sessions ---------------------------------------------------------------------------------------------
REKEY_RECORDS = 2**20  # rekey after so many records,
REKEY_OCTETS = 64 * GIB  # or octets (2^32 AES blocks: CBC collision chance about 2^-65),
REKEY_SECONDS = 3600.0  # or time
REKEY_SLACK = 1 / 16  # beyond those: room to finish what is queued, then only KEYUPDATE and CLOSE may follow
HANDSHAKE_SECONDS = 10.0  # from HELLO to ACCEPT
PING_SECONDS = 20.0  # a silent session is probed
DEAD_SECONDS = 60.0  # and given up
MAX_HALF_OPEN = 64  # handshakes under way at a listener
HALF_OPEN_RESERVE = 16  # of them for addresses that have authenticated before: strangers cannot hold them all

# -- admission --------------------------------------------------------------------------------------------
MAX_CONNECTIONS = 256  # far below the descriptor limit: libzmq spins at it
MAX_TRACKER_CONNECTIONS = (
    10_500  # at a tracker: each member has one; strangers have the same small part of it
)
MAX_UNAUTHENTICATED = 64
MAX_CONNECTIONS_PER_IP = 16
MAX_CONNECTIONS_PER_KNOWN_IP = 128  # an address that authenticated: an office, or many daemons on one machine
ACCEPTS_PER_SECOND = 50
ACCEPT_BURST = 100  # addresses that never authenticated, together
ACCEPTS_PER_SECOND_PER_IP = 5
ACCEPT_BURST_PER_IP = 20  # a full set of connections at once, and some retries
ACCEPTS_PER_SECOND_PER_KNOWN_IP = 50
HELLOS_PER_SECOND_PER_IP = 2
HELLO_BURST = 10
UNKNOWN_HELLOS_PER_SECOND = 20  # addresses that never authenticated, together
UNKNOWN_HELLO_BURST = 40
KNOWN_HELLOS_PER_SECOND = 50  # addresses that authenticated, together: a stranger's flood does not touch them
KNOWN_HELLO_BURST = 100
FAILED_PROOFS_PER_MINUTE = 3  # per IP, then a ban
UNKNOWN_FAILURES_PER_MINUTE = 10  # all strangers together: what many addresses may guess
UNKNOWN_FAILURE_BURST = 30
BAN_SECONDS_FIRST = 60.0  # doubling
BAN_SECONDS_MAX = 3600.0
BAN_MEMORY_SECONDS = 24 * 3600.0  # after so long without a failure the doubling starts anew
KNOWN_GOOD_SECONDS = 7 * 24 * 3600.0  # an address that authenticated is trusted more for so long
BAN_TOLD_SECONDS = 65_534.0  # the most that a REFUSE says: longer bans are told so
BANS_TOLD_PER_SECOND = 1  # connections of banned addresses that get as far as a REFUSE, together:
BANS_TOLD_BURST = 5  # they learn why, and hold no places
MAX_BANS = 4096  # by hand, of devices and networks: each is compared with each connection
MAX_TRACKED_ADDRESSES = (
    4096  # remembered at a time, the oldest forgotten first: 4 MiB; by a tracker two a connection
)
UNAUTHENTICATED_SECONDS = 10.0  # a connection that has not authenticated by then is cut
UNAUTHENTICATED_OCTETS = 16 * KIB  # and one that has sent more: a handshake takes under 3 KiB

# -- peer dialect -----------------------------------------------------------------------------------------
MAX_OUTSTANDING_BLOCKS = 64  # requests of one downloader that an uploader holds
MAX_PIECES = 65_536  # in one file: the manifest stays at 2 MiB
MIN_PIECE = 1 * MIB
MAX_FILE = 1 * TIB
MAX_MANIFEST = MAX_PIECES * 32 + 256
MANIFEST_PART = 256 * KIB  # a manifest, or the list of a folder, travels in parts of this size
MAX_COLLECTION = 32 * MIB  # octets of the list of one folder: 100,000 files with paths of 280 octets
MAX_COLLECTION_ENTRIES = 200_000  # files and empty directories in one folder
MAX_CONTENTS = 512  # small contents asked for in one message: their ids fill half of a control message
REQUEST_SECONDS = 60.0  # silence of a source with open block requests: 1 MiB at 17 KB/s

# -- tracker dialect --------------------------------------------------------------------------------------
MAX_DEVICES = 10_000
MAX_FILES_PER_DEVICE = 250_000  # a folder of the most entries, and some; twenty such devices fill a tracker
MAX_FILES = 5_000_000
MAX_CLAIMS = 4  # of one device about one content: one can be true, and all are read when it is looked up
ANNOUNCE_LIFETIME = 15 * 60.0  # a device not heard of for so long is gone
ANNOUNCE_REFRESH = 5 * 60.0  # with jitter
ANNOUNCE_SECONDS_MIN = 10.0  # one announce per session in this time
MAX_FETCHING = 256  # contents that a device says it is fetching: a message of 9 KB
NETWORK_SEARCHES_PER_SECOND = (
    50  # what all devices of a /24 or /64 may do together, unless the operator says otherwise:
)
NETWORK_ANNOUNCES_PER_SECOND = 10  # an office of hundreds comes back after a restart of the tracker
NETWORK_PUBLISHES_PER_SECOND = 200
MAX_FILES_PER_NETWORK = 2_500_000  # half of a tracker
MAX_WANTS = 100  # that one device waits for: what they say fits a control message
MAX_WANTS_ALL = 10_000  # that a tracker holds: each is looked up about once a minute
WANT_SECONDS = 60.0  # a question that waits is answered after so long, with jitter
WANTS_PER_SECOND = 0.1  # questions that wait, of one device: each is up to a hundred searches
WANT_BURST = 30  # one more each time that something is wanted
MAX_PUBLISH_ENTRIES = 200  # in one message
SEARCHES_PER_SECOND = 5
SEARCH_BURST = 20
LISTS_PER_SECOND = (
    100  # pages of everything: each is a walk along an index, and a million files are two thousand of them
)
LIST_BURST = 400
MAX_QUERY = 128  # octets of a search text
MAX_TERMS = 8  # words and phrases of a search, and as many that it is without
MAX_HITS = 500  # in one answer; more by cursor
MAX_SOURCES = 50  # addresses in one answer
MAX_HIT_NAMES = 16  # names of one content in a hit
MAX_ANSWER = 60 * KIB  # octets of one page of hits: any answer then fits the header of a record
FINDS_PER_SECOND = 50  # a folder of small files asks once a file
FIND_BURST = 2_000  # a script that looks a thousand names up: a second of work for the tracker, once
PUBLISHES_PER_SECOND = 20  # batches of one device
PUBLISH_BURST = 400  # 80,000 files with usual names at once, 4,000 a second from then on
ANNOUNCE_BURST = 5  # early announces (new address, out of step) before the ten-second rule holds
REACHES_PER_SECOND = 0.1  # dials back of one device: enough to try again, too few to look for open ports
REACH_BURST = 3
REACHES_IN_ALL_PER_SECOND = 1  # whatever devices there are, a tracker dials no more often than this
REACH_BURST_IN_ALL = 10
MAX_REACHES = 8  # dials back under way
REACH_SECONDS = 5.0  # until one is given up
FORGET_SECONDS = 3600.0  # an absent device is hidden at once, forgotten later: a restart publishes nothing

# -- names ------------------------------------------------------------------------------------------------
MAX_NAME = 255  # octets of one path component
MAX_PATH = 1024  # octets of a path
MAX_COMPONENTS = 32

# -- control socket ---------------------------------------------------------------------------------------
MAX_CONTROL_REQUEST = 64 * KIB
MAX_CONTROL_REPLY = 1 * MIB
CONTROL_PAGE = 1000  # items in one page of a control answer
EVENTS_KEPT = 4096  # events that a daemon remembers for those who ask late,
EVENTS_OCTETS = 4 * MIB  # in so much memory: with long names fewer
EVENTS_WAIT_SECONDS = 60.0  # that one request for events waits: a client that went away is forgotten by then
LOGS_WAIT_SECONDS = 60.0  # that one request for lines of the log may wait for more
SHUTDOWN_FLUSH_SECONDS = 3.0
SHUTDOWN_HARD_SECONDS = 5.0
