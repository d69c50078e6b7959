"""Version literals. Kept as plain strings so that printing a version imports nothing."""

VERSION = "0.1.0"
"""Version of this software (SemVer)."""

WIRE_VERSION = 1
"""Version of docs/protocol.md, offered in HELLO."""

CONTROL_VERSION = 1
"""Version of docs/control-api.md, sent in each control request."""
