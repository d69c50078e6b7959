"""Every bound of the protocol, each with its reason. Parsers check these before they allocate.

The table in docs/protocol.md quotes this file; tests/test_architecture.py keeps the two equal.
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

# -- sessions ---------------------------------------------------------------------------------------------
REKEY_RECORDS = 2**20  # rekey after so many records,
REKEY_OCTETS = 64 * GIB  # or octets (2^32 AES blocks: CBC collision chance about 2^-65),
REKEY_SECONDS = 3600.0  # or time
HANDSHAKE_SECONDS = 10.0  # from HELLO to ACCEPT
PING_SECONDS = 20.0  # a silent session is probed
DEAD_SECONDS = 60.0  # and given up
MAX_HALF_OPEN = 64  # handshakes under way at a listener

# -- admission --------------------------------------------------------------------------------------------
MAX_CONNECTIONS = 256  # far below the descriptor limit: libzmq spins at it
MAX_UNAUTHENTICATED = 64
MAX_CONNECTIONS_PER_IP = 16
ACCEPTS_PER_SECOND = 50
ACCEPTS_PER_SECOND_PER_IP = 5
HELLOS_PER_SECOND_PER_IP = 2
HELLO_BURST = 10
UNKNOWN_HELLOS_PER_SECOND = 20  # addresses that never authenticated, together
FAILED_PROOFS_PER_MINUTE = 3  # per IP, then a ban
BAN_SECONDS_FIRST = 60.0  # doubling
BAN_SECONDS_MAX = 3600.0

# -- peer dialect -----------------------------------------------------------------------------------------
MAX_OUTSTANDING_BLOCKS = 64  # requests of one downloader that an uploader holds
MAX_PIECES = 65_536  # in one file: the manifest stays at 2 MiB
MIN_PIECE = 1 * MIB
MAX_FILE = 1 * TIB
MAX_MANIFEST = MAX_PIECES * 32 + 256
MANIFEST_PART = 256 * KIB  # a manifest travels in parts of this size
REQUEST_SECONDS = 30.0  # an unanswered block request

# -- tracker dialect --------------------------------------------------------------------------------------
MAX_DEVICES = 10_000
MAX_FILES_PER_DEVICE = 10_000
MAX_FILES = 5_000_000
ANNOUNCE_LIFETIME = 15 * 60.0  # a device not heard of for so long is gone
ANNOUNCE_REFRESH = 5 * 60.0  # with jitter
ANNOUNCE_SECONDS_MIN = 10.0  # one announce per session in this time
MAX_PUBLISH_ENTRIES = 200  # in one message
SEARCHES_PER_SECOND = 5
SEARCH_BURST = 20
MAX_QUERY = 128  # octets of a search text
MAX_TERMS = 8  # words of a search text
MAX_HITS = 200  # in one answer; more by cursor
MAX_SOURCES = 50  # addresses in one answer

# -- names ------------------------------------------------------------------------------------------------
MAX_NAME = 255  # octets of one path component
MAX_PATH = 1024  # octets of a path
MAX_COMPONENTS = 32

# -- control socket ---------------------------------------------------------------------------------------
MAX_CONTROL_REQUEST = 64 * KIB
MAX_CONTROL_REPLY = 1 * MIB
CONTROL_PAGE = 1000  # items in one page of a control answer
SHUTDOWN_FLUSH_SECONDS = 3.0
SHUTDOWN_HARD_SECONDS = 5.0
