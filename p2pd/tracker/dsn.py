"""What can be said of a database's address without the library for it. Passwords are in nothing that comes out of here. Pure."""

from __future__ import annotations

from urllib.parse import parse_qsl

from protocol.display import safe

SCHEMES = ("postgresql://", "postgres://")


def is_address(text: str) -> bool:
    """Is it an address of a PostgreSQL database (and not a path)?"""
    return text.startswith(SCHEMES)


def shown(address: str) -> str:
    """The address without user, password and options, for people and logs."""
    _, host, database, options = _parts(address)
    service = f"?service={options['service']}" if "service" in options else ""
    host, database = host or options.get("host", ""), database or options.get("dbname", "")
    return safe(f"postgresql://{host}/{database}{service}")


def _parts(address: str) -> tuple[str, str, str, dict[str, str]]:
    """User with password, host with port, database, options; divided as libpq does it, which allows `?` in a password."""
    rest = address.partition("://")[2]
    user, mark, behind = rest.partition("@")
    if not mark or "/" in user:
        user, behind = "", rest
    place, _, options = behind.partition("?")
    host, _, database = place.partition("/")
    return user, host, database, dict(parse_qsl(options))
