"""What proxies say of the addresses of clients: who is believed, and how it is read."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from chatkit.errors import Disconnected, ProtocolError, UsageError
from chatkit.private import private_nursery
from chatkit.transport import TransportOptions, open_listener
from chatkit.transport.proxied import (
    LONGEST_LINE,
    SIGNATURE_2,
    Header,
    forwarded_for,
    host_of,
    is_trusted,
    networks,
    read_header,
)

TRUSTED = networks(("127.0.0.1", "10.0.0.0/8", "fd00::/8"))


def version_2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE_2 + bytes((command, family << 4 | 1)) + len(block).to_bytes(2, "big") + block


INET = socket.inet_aton("203.0.113.7") + socket.inet_aton("10.0.0.1") + (4711).to_bytes(2, "big") + b"\x01\xbb"
INET6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + (4711).to_bytes(2, "big") + b"\x01\xbb"

HEADERS = {
    "version 1": (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "203.0.113.7:4711"),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "[2001:db8::7]:4711"),
    "version 1, unknown": (b"PROXY UNKNOWN\r\n", None),
    "version 1, unknown with words": (b"PROXY UNKNOWN ffff:: ffff:: 1 2\r\n", None),
    "version 2": (version_2(0x21, 1, INET), "203.0.113.7:4711"),
    "version 2, IPv6": (version_2(0x21, 2, INET6), "[2001:db8::7]:4711"),
    "version 2, with extensions": (version_2(0x21, 1, INET + b"\x04\x00\x03abc"), "203.0.113.7:4711"),
    "version 2, a health check": (version_2(0x20, 0, b""), None),
    "version 2, a Unix socket": (version_2(0x21, 3, b"/" * 216), None),
}
BROKEN = {
    "too long": b"PROXY TCP4 " + b"1" * LONGEST_LINE,
    "no such family": b"PROXY UDP4 203.0.113.7 10.0.0.1 1 2\r\n",
    "another family": b"PROXY TCP6 203.0.113.7 10.0.0.1 1 2\r\n",
    "no address": b"PROXY TCP4 example.org 10.0.0.1 1 2\r\n",
    "no port": b"PROXY TCP4 203.0.113.7 10.0.0.1 x 2\r\n",
    "a port too large": b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 2\r\n",
    "too few words": b"PROXY TCP4\r\n",
    "no words": b"PROXY \r\n",
    "not ASCII": b"PROXY TCP4 203.0.113.7\xff 10.0.0.1 1 2\r\n",
    "version 3": version_2(0x31, 1, INET),
    "short addresses": version_2(0x21, 1, INET[:9]),
    "short IPv6 addresses": version_2(0x21, 2, INET6[:33]),
    "too many extensions": version_2(0x21, 1, INET + bytes(4096)),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_is_read_to_its_last_byte(kind: str) -> None:
    header, source = HEADERS[kind]
    rest = b'{"action":"login"}\n'
    for end in range(len(header)):
        assert read_header(header[:end]) is None
    assert read_header(header) == Header(len(header), source)
    assert read_header(header + rest) == Header(len(header), source)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_header_is_an_error(kind: str) -> None:
    with pytest.raises(ProtocolError):
        read_header(BROKEN[kind])


@pytest.mark.parametrize("first", [b"{", b" ", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n", b"POST", b"PROX{", b"\r\n\r\n{"])
def test_what_is_no_header_is_left_alone(first: bytes) -> None:
    assert read_header(first) == Header(0)


@given(
    st.binary(max_size=300)
    | st.builds(lambda head, tail: head + tail, st.sampled_from([b"PROXY ", SIGNATURE_2]), st.binary())
)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        header = read_header(data)
    except ProtocolError:
        return
    assert header is None or 0 <= header.size <= len(data)


@pytest.mark.parametrize(
    ("headers", "peer", "client"),
    [
        ([], "127.0.0.1:5000", "127.0.0.1:5000"),
        (["203.0.113.7"], "127.0.0.1:5000", "203.0.113.7"),
        (["203.0.113.7"], "192.0.2.1:5000", "192.0.2.1:5000"),  # not a proxy of ours: not believed
        (["198.51.100.1, 203.0.113.7"], "127.0.0.1:5000", "203.0.113.7"),  # the client made up the first
        (["203.0.113.7, 10.1.2.3"], "127.0.0.1:5000", "203.0.113.7"),  # a chain of ours
        (["203.0.113.7", "10.1.2.3"], "127.0.0.1:5000", "203.0.113.7"),  # in two headers
        (["10.9.9.9, 10.1.2.3"], "127.0.0.1:5000", "10.9.9.9"),
        (["203.0.113.7:4711"], "127.0.0.1:5000", "203.0.113.7"),
        (["2001:db8::7"], "127.0.0.1:5000", "[2001:db8::7]"),
        (["[2001:db8::7]:4711"], "[fd00::1]:5000", "[2001:db8::7]"),
        (["unknown"], "127.0.0.1:5000", "127.0.0.1:5000"),
        (["203.0.113.7, nonsense, 10.1.2.3"], "127.0.0.1:5000", "10.1.2.3"),
        ([","], "127.0.0.1:5000", "127.0.0.1:5000"),
    ],
)
def test_whom_a_request_comes_from(headers: list[str], peer: str, client: str) -> None:
    assert forwarded_for(headers, peer, TRUSTED) == client


@given(st.lists(st.text(max_size=40), max_size=5))
def test_no_header_raises(headers: list[str]) -> None:
    assert forwarded_for(headers, "127.0.0.1:5000", TRUSTED)


def test_addresses() -> None:
    assert str(host_of("203.0.113.7:80")) == str(host_of("203.0.113.7")) == "203.0.113.7"
    assert str(host_of("[2001:db8::7]:80")) == str(host_of("[2001:db8::7]")) == "2001:db8::7"
    assert str(host_of("[::ffff:203.0.113.7]:80")) == "203.0.113.7"
    assert host_of("memory") is None
    assert is_trusted("[::ffff:10.0.0.1]:80", TRUSTED)
    assert not is_trusted("11.0.0.1:80", TRUSTED)
    assert not is_trusted("127.0.0.1:80", ())


@pytest.mark.parametrize("wrong", ["example.org", "10.0.0.1/8", "", "127.0.0.1:80", "10.0.0.0/33"])
def test_what_is_no_network(wrong: str) -> None:
    with pytest.raises(UsageError, match="expected an address or a network"):
        networks((wrong,))


# ── on a socket ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def first_line(said: list[bytes], trusted: tuple[str, ...]) -> tuple[str, bytes]:
    """Let somebody say something on TCP; return the peer's name and the first message the listener sees."""
    listener = await open_listener("tcp://127.0.0.1:0", TransportOptions(trusted_proxies=networks(trusted)))
    port = int(listener.url.rpartition(":")[2])
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            arrival = await listener.accept()
            async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:

                async def speak() -> None:
                    for part in said:
                        await stream.send_all(part)
                        await trio.testing.wait_all_tasks_blocked(0.005)

                nursery.start_soon(speak)
                connection = await arrival.handshake(nursery)
                try:
                    return connection.peer, await connection.receive()
                finally:
                    connection.abort()
    finally:
        listener.close()


@pytest.mark.parametrize("kind", ["version 1", "version 2, IPv6"])
async def test_a_trusted_proxy_is_believed(kind: str) -> None:
    header, source = HEADERS[kind]
    for said in ([header + b'{"a":1}\n'], [header, b'{"a":1}\n'], [header[:5], header[5:] + b'{"a"', b":1}\n"]):
        assert await first_line(said, ("127.0.0.1",)) == (source, b'{"a":1}')


async def test_a_trusted_address_may_also_speak_for_itself() -> None:
    peer, message = await first_line([b'{"a":1}\n'], ("127.0.0.1",))
    assert peer.startswith("127.0.0.1:")
    assert message == b'{"a":1}'


async def test_nobody_else_is_believed() -> None:
    with pytest.raises(Disconnected) as caught:
        await first_line([HEADERS["version 1"][0] + b'{"a":1}\n'], ("192.0.2.1",))
    assert caught.value.code == 4400


async def test_a_broken_header_ends_the_link() -> None:
    with pytest.raises(ProtocolError, match="PROXY line"):
        await first_line([BROKEN["no port"]], ("127.0.0.1",))
