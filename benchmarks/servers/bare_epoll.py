"""A bare epoll loop: the frame built once, one ``send`` per member. No checks, no limits: a floor for Python."""

from __future__ import annotations

import base64
import hashlib
import select
import socket
import sys
from collections.abc import Callable, Iterator

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LONG = 65_536

epoll = select.epoll()
links: dict[int, socket.socket] = {}
buffers: dict[int, bytearray] = {}
sends: dict[int, Callable[[bytes], int]] = {}


def shake_hands(fd: int, head: bytes) -> None:
    key = next(
        line.split(b":")[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    links[fd].sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    sends[fd] = links[fd].send


def frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    return (
        b"\x81\x7e" + size.to_bytes(2, "big") + payload
        if size < LONG
        else b"\x81\x7f" + size.to_bytes(8, "big") + payload
    )


def payloads(buffer: bytearray) -> Iterator[bytes]:
    while len(buffer) >= 6:
        size, start = buffer[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(buffer[2:10], "big"), 10
        end = start + 4 + size
        if len(buffer) < end:
            return
        mask = int.from_bytes(buffer[start : start + 4] * (size // 4 + 1), "big") >> 8 * (4 - size % 4)
        body = int.from_bytes(buffer[start + 4 : end], "big") ^ mask
        opcode = buffer[0] & 0x0F
        del buffer[:end]
        if opcode == 1:
            yield body.to_bytes(size, "big")


def read(fd: int) -> None:
    data = links[fd].recv(LONG)
    if not data:
        epoll.unregister(fd)
        links.pop(fd).close()
        sends.pop(fd, None)
        return
    buffer = buffers[fd]
    buffer += data
    if fd not in sends:
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        shake_hands(fd, bytes(buffer[:end]))
        del buffer[: end + 4]
    for payload in payloads(buffer):
        framed = frame(payload)
        for send in sends.values():
            send(framed)


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
listener.setblocking(False)
epoll.register(listener, select.EPOLLIN)
while True:
    for fd, _ in epoll.poll():
        if fd == listener.fileno():
            link, _ = listener.accept()
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            links[link.fileno()], buffers[link.fileno()] = link, bytearray()
            epoll.register(link, select.EPOLLIN)
        else:
            read(fd)
