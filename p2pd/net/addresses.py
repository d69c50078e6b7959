"""Network addresses: what people write, what a tracker may make us dial, what we print.

Rule: an address from the network is a literal of a kind that a peer can have, or it is refused before any
socket hears of it (server-side request forgery; libtorrent's 2020 audit, F1). Host names are for people
only. The module sends nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple

from protocol.errors import Fault, RemoteProtocolError

MIN_DIALABLE_PORT = 1024  # system services live below
MAX_PORT = 65_535
MAX_HOST = 253  # octets of a name (RFC 1035)
LOOPBACK = "127.0.0.1"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED: tuple[tuple[str, Network], ...] = tuple(
    (reason, ipaddress.ip_network(network))
    for reason, network in (
        ("unspecified", "0.0.0.0/8"),
        ("link-local", "169.254.0.0/16"),  # holds 169.254.169.254, the metadata service of clouds
        ("multicast", "224.0.0.0/4"),
        ("broadcast", "255.255.255.255/32"),
        ("reserved", "240.0.0.0/4"),
        ("unspecified", "::/128"),
        ("translated", "64:ff9b::/96"),  # an IPv4 address in disguise
        ("translated", "64:ff9b:1::/48"),
        ("translated", "2001::/32"),
        ("translated", "2002::/16"),
        ("link-local", "fe80::/10"),
        ("link-local", "fec0::/10"),
        ("multicast", "ff00::/8"),
    )
)


class Endpoint(NamedTuple):
    """A host (name or literal, "" for every interface) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_endpoint(self.host, self.port)


def parse_endpoint(text: str, default_port: int | None = None) -> Endpoint:
    """Read `HOST[:PORT]`, `[V6]:PORT`, `[V6]` or a bare IPv6 literal, as a person writes it.

    Without a port `default_port` is taken. Raises Fault "usage" for anything else, and for a missing port
    without a default.
    """
    rest = text.strip()
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")) or _literal(host) is None or ":" not in host:
            raise _unusable(text)
        port_text = tail[1:]
        has_port = bool(tail)
    elif rest.count(":") > 1:  # an IPv6 literal without brackets can have no port
        if _literal(rest) is None:
            raise _unusable(text)
        host, port_text, has_port = rest, "", False
    else:
        host, colon, port_text = rest.partition(":")
        has_port = bool(colon)
    if not host or not _is_host(host):
        raise _unusable(text)
    if has_port:
        return Endpoint(host, _port(port_text, text))
    if default_port is None:
        raise Fault("usage", f"the address {text!r} has no port", "write HOST:PORT")
    return Endpoint(host, default_port)


def parse_listen(text: str, default_port: int) -> Endpoint:
    """Read `[HOST:]PORT`, `HOST` or "" for --listen; host "" (also `*`) means every interface. Port 0: any
    free one.
    """
    rest = text.strip()
    if rest.isascii() and rest.isdigit():
        return Endpoint("", _port(rest, text, least=0))
    host, colon, port_text = rest.rpartition(":")
    if colon and host in ("", "*"):
        return Endpoint("", _port(port_text, text, least=0))
    if rest in ("", "*"):
        return Endpoint("", default_port)
    if colon and port_text == "0" and (host.startswith("[") or ":" not in host):
        return Endpoint(parse_endpoint(host, default_port).host, 0)
    return parse_endpoint(rest, default_port)


def resolve(host: str, port: int) -> tuple[Endpoint, ...]:
    """The literals of a host that a person named, in the system's order, each once. Blocks: call it in a
    thread.

    Raises Fault "network" when the name has no address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise Fault(
            "network", f"cannot resolve the host {host!r}", "check the name, or use an address"
        ) from error
    return tuple(dict.fromkeys(Endpoint(str(entry[4][0]), port) for entry in found))


def check_dialable(host: str, port: int, tracker_is_loopback: bool) -> Endpoint:
    """Check an address that came from the network; the same address in canonical form.

    Raises RemoteProtocolError for: no literal, a port under 1024, an unspecified, multicast, broadcast,
    link-local, reserved or IPv4-in-IPv6 address, and loopback unless the tracker that named
    it is on loopback.
    """
    if not MIN_DIALABLE_PORT <= port <= MAX_PORT:
        raise RemoteProtocolError("address: port out of range")
    address = _literal(host)
    if address is None:
        raise RemoteProtocolError("address: not a literal")
    if address.is_loopback:
        if not tracker_is_loopback:
            raise RemoteProtocolError("address: loopback")
        return Endpoint(str(address), port)
    for reason, network in _REFUSED:
        if address in network:
            raise RemoteProtocolError(f"address: {reason}")
    return Endpoint(str(address), port)


def canonical(host: str) -> str:
    """A literal in its shortest form, an IPv4-mapped one as IPv4; anything else comes back unchanged.

    A socket for both families reports IPv4 sources as `::ffff:a.b.c.d`: without this they would count twice.
    """
    address = _literal(host)
    return host if address is None else str(address)


def is_loopback(host: str) -> bool:
    """True for a loopback literal and for the name `localhost`."""
    address = _literal(host)
    return address.is_loopback if address is not None else host.lower().rstrip(".") == "localhost"


def format_endpoint(host: str, port: int) -> str:
    """`HOST:PORT`, with brackets around an IPv6 literal; `*` for every interface."""
    shown = host or "*"
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"


def zmq_endpoint(host: str, port: int) -> str:
    """The same as a ZeroMQ TCP endpoint; port 0 becomes `*`, which asks for any free port."""
    shown = format_endpoint(host, port)
    return f"tcp://{shown[:-1]}*" if port == 0 else f"tcp://{shown}"


def primary_address(toward: str = "192.0.2.1") -> str:
    """The address of this machine that faces `toward` (a literal; by default the way out), 127.0.0.1 if
    none does.

    Connecting a UDP socket only asks the kernel for the route; no packet leaves.
    """
    address = _literal(toward)
    if address is None:
        return LOOPBACK
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            own = _literal(str(probe.getsockname()[0]))
    except OSError:
        return LOOPBACK
    return LOOPBACK if own is None or own.is_unspecified else str(own)


def source_key(host: str) -> str:
    """The name under which a source is counted: an IPv4 address, the /64 of an IPv6 one, other text
    unchanged.
    """
    address = _literal(host.partition("%")[0])
    if address is None:
        return host
    if address.version == 4:
        return str(address)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def parse_network(text: str) -> Network:
    """An address or network as a person writes it, host bits dropped. Raises Fault "usage" for anything
    else.
    """
    try:
        return ipaddress.ip_network(canonical(text.strip()), strict=False)
    except ValueError as error:
        message = f"not an address or network: {text!r}"
        raise Fault("usage", message, "write 10.0.0.7 or 10.0.0.0/8") from error


def holds(network: Network, source: str) -> bool:
    """Does `network` hold this address, or share addresses with this `source_key` of a /64?"""
    try:
        own = ipaddress.ip_network(canonical(source.partition("%")[0]))
    except ValueError:
        return False
    return own.version == network.version and own.overlaps(network)


def _literal(text: str) -> Address | None:
    """The address of a literal without a zone, an IPv4-mapped one unwrapped; None for anything else."""
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_host(text: str) -> bool:
    if _literal(text) is not None:
        return True
    name = text.removesuffix(".")
    return (
        0 < len(name) <= MAX_HOST
        and all(_is_label(label) for label in name.split("."))
        and not _is_number(name)
    )


def _is_label(label: str) -> bool:
    if not 0 < len(label) <= 63 or label.startswith("-") or label.endswith("-"):
        return False
    return all(character.isalnum() or character in "-_" for character in label)


def _is_number(name: str) -> bool:
    """True for what the C library would read as an address though it is no literal: `127.1`, `0x7f000001`."""
    last = name.rpartition(".")[2].lower()
    return last.isdigit() or last.startswith("0x")


def _port(digits: str, text: str, least: int = 1) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and least <= int(digits) <= MAX_PORT):
        raise _unusable(text)
    return int(digits)


def _unusable(text: str) -> Fault:
    return Fault(
        "usage", f"not an address: {text!r}", "write HOST, HOST:PORT or [IPV6]:PORT with a port of 1 to 65535"
    )
