"""Addresses, refusals and shortages: each a plain sentence, or survived."""

from __future__ import annotations

import errno
import socket
import ssl
import struct

import pytest
import trio

from chatkit.errors import ConnectFailed, Disconnected, ListenFailed, UsageError
from chatkit.transport import TransportOptions, open_connection, open_listener
from chatkit.transport.address import peer_name
from chatkit.transport.sockets import ListeningSockets


@pytest.mark.parametrize(
    "url",
    ["nonsense", "ws://", "ws://127.0.0.1", "tcp://127.0.0.1:x", "ws://[::1:5", "ws://u:p@127.0.0.1:1", "gopher://h:1",
     "tcp://127.0.0.1:0/path", "wss://127.0.0.1:0", "tls://127.0.0.1:0", "memory://a/b"],
)  # fmt: skip
async def test_unusable_addresses(url: str) -> None:
    with pytest.raises(UsageError):
        await open_listener(url)


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
async def test_a_port_in_use(scheme: str) -> None:
    first = await open_listener(f"{scheme}://127.0.0.1:0")
    with pytest.raises(ListenFailed) as caught:
        await open_listener(first.url)
    assert str(caught.value) == f"{first.url}: the port is already in use; is another server running?"
    first.close()
    (await open_listener(first.url)).close()


async def test_other_addresses_that_cannot_be_had() -> None:
    with pytest.raises(ListenFailed, match=r"192\.0\.2\.1:0: this is no address of this machine"):
        await open_listener("tcp://192.0.2.1:0")
    with pytest.raises(ListenFailed, match="does not resolve"):
        await open_listener("tcp://nobody.invalid:0")
    first = await open_listener("memory://taken")
    with pytest.raises(ListenFailed, match="taken: the name is already in use"):
        await open_listener("memory://taken")
    first.close()


async def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize("scheme", ["ws", "wss", "tcp", "tls"])
async def test_nobody_listens(scheme: str, nursery: trio.Nursery) -> None:
    url = f"{scheme}://127.0.0.1:{await closed_port()}"
    with pytest.raises(ConnectFailed) as caught:
        await open_connection(nursery, url)
    assert str(caught.value) == f"{url}: nobody listens there (connection refused)"
    assert not nursery.child_tasks


async def test_unknown_names(nursery: trio.Nursery) -> None:
    with pytest.raises(ConnectFailed, match=r"ws://nobody\.invalid:80: the name does not resolve"):
        await open_connection(nursery, "ws://nobody.invalid")
    with pytest.raises(ConnectFailed, match="memory://nobody: nobody listens there"):
        await open_connection(nursery, "memory://nobody")


async def test_lines_carry_json_only(nursery: trio.Nursery) -> None:
    for url in ("tcp://127.0.0.1:1", "memory://x"):
        with pytest.raises(UsageError):
            await open_connection(nursery, url, encoding="msgpack")


async def answer(listener: trio.SocketListener, text: bytes) -> None:
    stream = await listener.accept()
    async with stream:
        await stream.receive_some()
        if text:
            await stream.send_all(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nno chat", "the server refused: HTTP 404, no chat"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "the server refused: HTTP 204"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000, "hung up"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ""),
        (b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "no WebSocket server"),
        (b"HTTP/1.1 101 Go\r\nConnection: \xff\r\n\r\n", "no WebSocket server"),
        (b"", "the server hung up during the handshake"),
    ],
)
async def test_what_is_no_websocket_server(text: bytes, sentence: str, nursery: trio.Nursery) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        nursery.start_soon(answer, listener, text)
        url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/ws"
        with pytest.raises(ConnectFailed) as caught:
            await open_connection(nursery, url)
        assert str(caught.value).startswith(f"{url}: ")
        assert sentence in str(caught.value)


@pytest.mark.parametrize("scheme", ["ws", "wss", "tls"])
async def test_a_silent_server_is_given_up(scheme: str, nursery: trio.Nursery) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        url = f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}"
        with pytest.raises(ConnectFailed, match=r"no answer within 0\.1 seconds"):
            await open_connection(nursery, url, TransportOptions(handshake_timeout=0.1))


@pytest.mark.parametrize("scheme", ["wss", "tls"])
async def test_certificates(scheme: str, contexts, nursery: trio.Nursery) -> None:
    listener = await open_listener(f"{scheme}://127.0.0.1:0", TransportOptions(ssl_context=contexts.server))
    failures: list[Exception] = []

    async def serve() -> None:
        while True:
            arrival = await listener.accept()
            try:
                await arrival.handshake(nursery)
            except Disconnected as error:
                failures.append(error)

    async with trio.open_nursery() as background:
        background.start_soon(serve)
        with pytest.raises(ConnectFailed, match="certificate is not trusted") as caught:
            await open_connection(nursery, listener.url)
        assert isinstance(caught.value.__cause__, Exception)
        background.cancel_scope.cancel()
    listener.close()


async def test_tls_towards_a_plain_port(nursery: trio.Nursery) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        nursery.start_soon(answer, listener, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(ConnectFailed, match="does not speak TLS"):
            await open_connection(nursery, f"wss://127.0.0.1:{listener.socket.getsockname()[1]}")


class Failing(socket.socket):
    """A listening socket of an operating system that is short of things."""

    errors: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.errors:
            raise OSError(self.errors.pop(0), "short")
        return super().accept()


async def test_accept_survives_shortages(autojump_clock: trio.abc.Clock) -> None:
    sock = Failing()
    sock.errors = [errno.EMFILE, errno.ECONNABORTED, errno.ENFILE, errno.ENOBUFS, errno.EPROTO]
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.setblocking(False)
    listening = ListeningSockets([sock])
    client = socket.create_connection(sock.getsockname())
    accepted, peer = await listening.accept()
    assert peer == peer_name(client.getsockname())
    assert not sock.errors
    for end in (client, accepted):
        end.close()
    listening.close()
    listening.close()
    with pytest.raises(trio.ClosedResourceError):
        await listening.accept()


async def test_resets_right_after_connecting_do_not_end_the_listener(nursery: trio.Nursery) -> None:
    for scheme in ("ws", "tcp"):
        listener = await open_listener(f"{scheme}://127.0.0.1:0")
        port = int(listener.url.rpartition(":")[2])
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with socket.create_connection(("127.0.0.1", port)) as good:
            name = peer_name(good.getsockname())
            while True:
                arrival = await listener.accept()
                arrival.abort()
                if arrival.peer == name:
                    break
        listener.close()


async def test_the_kernel_watches_lines(nursery: trio.Nursery) -> None:
    listener = await open_listener("tcp://127.0.0.1:0", TransportOptions(send_buffer_bytes=50_000))
    client = socket.create_connection(("127.0.0.1", int(listener.url.rpartition(":")[2])))
    arrival = await listener.accept()
    sock = arrival._stream._sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 25
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 33_000
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 100_000, "Linux doubles it"
    arrival.abort()
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNRESET)
    client.close()
    listener.close()


def test_default_verification_is_the_systems() -> None:
    assert TransportOptions().ssl_context is None
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED
