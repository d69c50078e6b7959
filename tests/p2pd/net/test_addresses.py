"""p2pd.net.addresses: what is understood, what may be dialled, how it is shown."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.net.addresses import (
    Endpoint,
    canonical,
    check_dialable,
    format_endpoint,
    holds,
    is_loopback,
    parse_endpoint,
    parse_listen,
    parse_network,
    primary_address,
    resolve,
    source_key,
    zmq_endpoint,
)
from protocol.errors import Fault, RemoteProtocolError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", 9000),
        (" tracker.example.org:8001 ", "tracker.example.org", 8001),
        ("10.0.0.7", "10.0.0.7", 9000),
        ("10.0.0.7:1", "10.0.0.7", 1),
        ("[::1]:65535", "::1", 65535),
        ("[2001:db8::7]", "2001:db8::7", 9000),
        ("2001:db8::7", "2001:db8::7", 9000),
        ("münchen.example:9001", "münchen.example", 9001),
        ("my_host-1.", "my_host-1.", 9000),
    ],
)
def test_endpoints_as_people_write_them(text: str, host: str, port: int) -> None:
    assert parse_endpoint(text, 9000) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", ":9000", "host:", "host:0", "host:65536", "host:-1", "host:+1", "host:١", "host:80:90"),
        *("[::1", "::1]", "[]:1", "[host]:1", "[10.0.0.1]:1", "[::1]x", "[::1]:", "tcp://host:1", "a b:1"),
        *("-x:1", "a..b", "127.1", "1.2.3.999", "0x7f000001", "2130706433", "x" * 64, "host/path", "u@host"),
    ],
)
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(Fault) as caught:
        parse_endpoint(text, 9000)
    assert caught.value.code == "usage"


def test_a_port_may_be_required() -> None:
    with pytest.raises(Fault, match="no port"):
        parse_endpoint("host")
    assert parse_endpoint("host:5") == ("host", 5)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8002", "", 8002),
        ("0", "", 0),
        (":8002", "", 8002),
        ("*:8002", "", 8002),
        ("*", "", 8001),
        ("", "", 8001),
        ("127.0.0.1", "127.0.0.1", 8001),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:0", "::1", 0),
        ("[::]:8002", "::", 8002),
        ("localhost:8002", "localhost", 8002),
    ],
)
def test_where_to_listen(text: str, host: str, port: int) -> None:
    assert parse_listen(text, 8001) == (host, port)


@pytest.mark.parametrize("text", ["65536", "host:65536", "a:b:0", "x y:0", "::1:0:z"])
def test_where_not_to_listen(text: str) -> None:
    with pytest.raises(Fault):
        parse_listen(text, 8001)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("192.168.1.100", "192.168.1.100"),
        ("100.64.0.9", "100.64.0.9"),
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2a00:1450:0:0::1", "2a00:1450::1"),
        ("fd00::1", "fd00::1"),
        ("192.0.2.1", "192.0.2.1"),  # documentation, and what many a laboratory uses
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_addresses_that_a_tracker_may_name(host: str, shown: str) -> None:
    assert check_dialable(host, 8001, tracker_is_loopback=False) == Endpoint(shown, 8001)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "example.org",
            "",
            " 10.0.0.1",
            "10.0.0.1 ",
            "010.0.0.1",
            "10.1",
            "0x0a000001",
            "[::1]",
        ),
        *("0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "224.0.0.1", "239.255.255.250", "ff02::1"),
        *("255.255.255.255", "240.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fec0::1"),
        *("fe80::1%eth0", "2a00::1%1"),
        *("64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:1::"),
    ],
)
def test_addresses_that_a_tracker_may_not_name(host: str) -> None:
    with pytest.raises(RemoteProtocolError):
        check_dialable(host, 8001, tracker_is_loopback=True)


@pytest.mark.parametrize("port", [-1, 0, 22, 80, 1023, 65536])
def test_ports_that_a_tracker_may_not_name(port: int) -> None:
    with pytest.raises(RemoteProtocolError):
        check_dialable("10.0.0.1", port, tracker_is_loopback=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_only_from_a_tracker_on_loopback(host: str) -> None:
    assert check_dialable(host, 1024, tracker_is_loopback=True).port == 1024
    with pytest.raises(RemoteProtocolError):
        check_dialable(host, 1024, tracker_is_loopback=False)


@given(st.one_of(st.ip_addresses().map(str), st.text(max_size=20)), st.integers(1024, 65535))
def test_what_may_be_dialled_is_a_usable_literal(host: str, port: int) -> None:
    try:
        endpoint = check_dialable(host, port, tracker_is_loopback=False)
    except RemoteProtocolError:
        return
    address = ipaddress.ip_address(endpoint.host)
    assert not any((address.is_loopback, address.is_link_local, address.is_multicast, address.is_unspecified))
    assert check_dialable(endpoint.host, port, tracker_is_loopback=False) == endpoint
    assert parse_endpoint(str(endpoint)) == endpoint


def test_formats() -> None:
    assert format_endpoint("10.0.0.1", 1) == "10.0.0.1:1"
    assert format_endpoint("::1", 1) == "[::1]:1"
    assert format_endpoint("", 9000) == "*:9000"
    assert str(Endpoint("::1", 7)) == "[::1]:7"
    assert zmq_endpoint("::1", 7) == "tcp://[::1]:7"
    assert zmq_endpoint("", 0) == "tcp://*:*"
    assert zmq_endpoint("127.0.0.1", 10) == "tcp://127.0.0.1:10"


def test_names_are_resolved_to_literals() -> None:
    found = resolve("localhost", 9000)
    assert found
    assert all(is_loopback(endpoint.host) and endpoint.port == 9000 for endpoint in found)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("host", ["x" * 64, "no-such-host.invalid", "a" * 300])
def test_names_without_an_address(host: str) -> None:
    with pytest.raises(Fault) as caught:
        resolve(host, 9000)
    assert caught.value.code == "network"


def test_own_addresses() -> None:
    assert primary_address("127.0.0.1") == "127.0.0.1"
    assert primary_address("not a literal") == "127.0.0.1"
    own = ipaddress.ip_address(primary_address())
    assert not own.is_unspecified


def test_loopback() -> None:
    assert is_loopback("localhost")
    assert is_loopback("LocalHost.")
    assert is_loopback("::ffff:127.0.0.5")
    assert not is_loopback("localhost.example.org")
    assert not is_loopback("10.0.0.1")


def test_sources_are_counted_by_address_or_prefix() -> None:
    assert source_key("::ffff:10.0.0.1") == source_key("10.0.0.1") == "10.0.0.1"
    assert source_key("2001:db8:1:2:3:4:5:6") == source_key("2001:db8:1:2::") == "2001:db8:1:2::/64"
    assert source_key("fe80::1%eth0") == "fe80::/64"
    assert source_key("nonsense") == "nonsense"
    assert canonical("nonsense") == "nonsense"


def test_networks() -> None:
    network = parse_network(" 10.1.2.3/8 ")
    assert str(network) == "10.0.0.0/8"
    assert holds(network, "10.9.9.9")
    assert holds(network, "::ffff:10.9.9.9")
    assert not holds(network, "11.0.0.1")
    assert not holds(network, "2001:db8::1")
    assert not holds(network, "nonsense")
    assert holds(parse_network("2001:db8::7"), "2001:db8::/64")
    with pytest.raises(Fault, match="not an address"):
        parse_network("10.0.0.0/33")
