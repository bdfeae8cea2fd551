"""Many links to one server: opened side by side, kept alive, listened to until all is quiet."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from attrs import Factory, define

from benchmarks.dialects import Dialect, Opening
from benchmarks.wire import CLOSE, LIVENESS, PING, PONG, FrameWalk, client_frame, upgrade

AT_ONCE = 64
"""Links in the middle of being opened at any time."""
LINKS_PER_ADDRESS = 20_000
"""Then the next 127.0.0.x is used as a source: an address has some 28,000 ports."""
STALLED_SECONDS = 30.0
ALIVE_SECONDS = 10.0
"""Until all is quiet those who are there say so this often: nobody answers the server's pings."""
LIVENESS_SECONDS = 0.0001
"""What a server may take to read a pong: more than it does."""
HEAD_END = b"\r\n\r\n"
BUFFER = bytearray(1 << 20)


@define(eq=False)
class Link:
    """One client's connection."""

    member: int
    sock: socket.socket
    head: bytearray = Factory(bytearray)
    talk: Opening | None = None
    walk: FrameWalk | None = None
    answer: Any = None
    upgraded: bool = False
    ready: bool = False


class Crowd:
    """Links to one server, by member number and by descriptor."""

    def __init__(self, port: int, dialect: Dialect) -> None:
        self.dialect = dialect
        self.members: list[Link] = []
        self.links: dict[int, Link] = {}
        self.epoll = select.epoll()
        self._port = port

    # ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(
        self, members: Iterable[int], dialect: Dialect | None = None, progress: Callable[[int], None] | None = None
    ) -> float:
        """Open a link for every member, and return the seconds until the last one was ready."""
        speak = dialect or self.dialect
        waiting = list(members)[::-1]
        opening: set[Link] = set()
        done, total, began = 0, len(waiting), time.perf_counter()
        heard = alive = began
        while done < total:
            if time.perf_counter() - alive > ALIVE_SECONDS:
                self._say_alive()
                alive = time.perf_counter()
            while waiting and len(opening) < AT_ONCE:
                opening.add(self._connect(waiting.pop(), speak))
            for fd, _ in self.epoll.poll(1, len(self.links) + 1):
                heard = time.perf_counter()
                link = self.links[fd]
                if link.ready:
                    link.sock.recv_into(BUFFER, len(BUFFER), socket.MSG_TRUNC)
                    continue
                self._hear(link)
                if link.ready:
                    opening.discard(link)
                    done += 1
                    if progress:
                        progress(done)
            if time.perf_counter() - heard > STALLED_SECONDS:
                raise RuntimeError(f"{total - done} of {total} links did not become ready")
        return time.perf_counter() - began

    def _connect(self, member: int, dialect: Dialect) -> Link:
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if member >= LINKS_PER_ADDRESS:
            sock.bind((f"127.0.0.{2 + member // LINKS_PER_ADDRESS}", 0))
        sock.connect(("127.0.0.1", self._port))
        sock.setblocking(False)
        sock.send(upgrade(f"127.0.0.1:{self._port}", dialect.path))
        link = Link(member, sock, talk=dialect.opening(member))
        link.walk = FrameWalk(lambda data, start, end: self._advance(link, data[start:end]), self._control_of(link))
        self.links[sock.fileno()] = link
        while len(self.members) <= member:
            self.members.append(link)
        self.members[member] = link
        self.epoll.register(sock, select.EPOLLIN)
        return link

    def _hear(self, link: Link) -> None:
        data = link.sock.recv(1 << 18)
        if not data:
            raise RuntimeError(f"the server hung up on member {link.member}: {bytes(link.head[:200])!r}")
        if not link.upgraded:
            link.head += data
            end = link.head.find(HEAD_END)
            if end < 0:
                return
            if b" 101 " not in link.head[:20]:
                raise RuntimeError(f"no WebSocket: {bytes(link.head[:200])!r}")
            link.upgraded = True
            data = bytes(link.head[end + 4 :])
            self._advance(link, None)
        assert link.walk is not None
        link.walk.feed(data)

    def _advance(self, link: Link, payload: bytes | None) -> None:
        if link.talk is None:
            return
        try:
            request = link.talk.send(payload)  # type: ignore[arg-type]  # the first send of a generator is None
        except StopIteration as finished:
            link.answer, link.talk, link.ready = finished.value, None, True
        else:
            if request:
                link.sock.send(request)

    # ── being there ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _control_of(self, link: Link) -> Callable[[int, bytes], None]:
        def control(opcode: int, payload: bytes) -> None:
            if opcode == PING:
                link.sock.send(client_frame(payload, PONG))
            elif opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big")
                raise RuntimeError(f"the server closed member {link.member}: {code} {payload[2:]!r}")

        return control

    def walking(self, link: Link, take: Callable[[bytes, int, int], None]) -> FrameWalk:
        """Return a walk over a link's frames that answers pings."""
        return FrameWalk(take, self._control_of(link))

    def settle(self, quiet: float) -> float:
        """Discard what arrives until nothing has for ``quiet`` seconds; return how long that took."""
        began = alive = time.perf_counter()
        while events := self.epoll.poll(quiet, len(self.links) + 1):
            if time.perf_counter() - alive > ALIVE_SECONDS:
                self._say_alive()
                alive = time.perf_counter()
            for fd, _ in events:
                if not self.links[fd].sock.recv_into(BUFFER, len(BUFFER), socket.MSG_TRUNC):
                    raise RuntimeError(f"the server hung up on member {self.links[fd].member}")
        return time.perf_counter() - began - quiet

    def show_life(self) -> None:
        """Let the server hear from everybody, so that it pings nobody for a while; give it time to."""
        self._say_alive()
        time.sleep(len(self.links) * LIVENESS_SECONDS)

    def _say_alive(self) -> None:
        for link in self.links.values():
            if link.ready:
                link.sock.send(LIVENESS)

    def close(self) -> None:
        """Hang up."""
        for link in self.links.values():
            link.sock.close()
        self.links.clear()
        self.epoll.close()
