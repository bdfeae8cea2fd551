"""Driving a crowd: so many messages in flight, or so many a second; deliveries counted by their bytes.

Every member of a room gets the same bytes, so a member that has received the bytes of the first k messages has
received k messages: only arithmetic is needed, and the generator does not decode what it measures. A few members'
frames are walked and checked all the same, and in the end every member must have got exactly the bytes that were said.
"""

from __future__ import annotations

import gc
import os
import socket
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial

from attrs import frozen

from benchmarks.crowd import BUFFER, STALLED_SECONDS, Crowd, Link
from benchmarks.machine import busy_seconds
from benchmarks.process import Process
from benchmarks.wire import server_frame_size

BUSY = 0.85
"""A generator that is busy for a larger share than this, while the server is not, may have been the bottleneck."""
LATE_SECONDS = 0.005
"""A paced message that leaves this late makes the generator the bottleneck, if it is one in a hundred."""
SPIN_SECONDS = 0.0015
"""Before a paced message is due the generator stops sleeping: a sleep is only that exact."""


class Lost(Exception):
    """What was received is not what was said."""


@frozen(kw_only=True)
class Result:
    """What one run measured, between its warm-up and its end."""

    seconds: float
    messages: float
    deliveries: float
    server_cpu: float
    """Seconds of CPU, user and system, all threads."""
    generator_cpu: float
    others: float = 0.0
    """The share of the machine that other processes took meanwhile."""
    late: float = 0.0
    """The share of paced messages that left late."""
    latencies: Sequence[float] = ()
    """Seconds from when each message was due to each delivery, sorted."""

    @property
    def cpu_per_delivery(self) -> float:
        """Microseconds of server CPU per delivery."""
        return self.server_cpu / self.deliveries * 1e6

    @property
    def cpu_per_message(self) -> float:
        """Microseconds of server CPU per message."""
        return self.server_cpu / self.messages * 1e6

    @property
    def generator_share(self) -> float:
        """How busy the generator's core was with it."""
        return self.generator_cpu / self.seconds

    @property
    def server_share(self) -> float:
        """How busy the server's core was with it."""
        return self.server_cpu / self.seconds

    @property
    def bottleneck(self) -> bool:
        """Whether the generator may have been what limited the run: it was busy all the time, the server was not."""
        return self.late > 0.01 or (self.generator_share > BUSY > self.server_share and not self.latencies)

    def percentile(self, share: float) -> float:
        """Return a latency in milliseconds."""
        if not self.latencies:
            return float("nan")
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))] * 1e3


class Load:
    """A crowd that listens, and some of it that talk.

    ``rooms`` of equal size, members in order; more than one room makes the generator walk every frame.
    """

    def __init__(self, process: Process, crowd: Crowd, *, size: int = 100, senders: int = 1, rooms: int = 1) -> None:
        self._process = process
        self._crowd = crowd
        self._dialect = crowd.dialect
        self._size = size
        self._rooms = rooms
        self._room_size = len(crowd.members) // rooms
        step = self._room_size if rooms > 1 else 1
        self._senders = [crowd.members[number * step] for number in range(rooms if rooms > 1 else senders)]
        self._heard = 0
        """What the frame being walked over has added: bytes, or messages if there are several rooms."""
        self._numbers: dict[int, int] = {}
        self._sent = 0
        self._done = 0
        """Messages that have reached everybody."""
        self._total = 0
        self._got = [0] * (max(crowd.links) + 1)
        self._upto = [0]
        """What a member has received after k messages."""
        self._pending: dict[Link, bytes] = {}
        self._readers: list[Callable[[], int]] = []
        self._payload, self._counter = b"", 0

    @property
    def said(self) -> int:
        """Messages said after the calibration."""
        return self._sent

    # ── preparing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def calibrate(self) -> None:
        """Say one message, to see how it looks when it is delivered and that everybody gets it."""
        arrived: set[int] = set()
        payloads: list[bytes] = []
        walks = {fd: self._calibrating(link, arrived, payloads) for fd, link in self._crowd.links.items()}
        for sender in self._senders if self._rooms > 1 else self._senders[:1]:
            sender.sock.send(self._dialect.say(0, self._size, sender.member))
        deadline = time.perf_counter() + STALLED_SECONDS
        while len(arrived) < len(walks):
            for fd, _ in self._crowd.epoll.poll(1, len(walks)):
                walks[fd](self._crowd.links[fd].sock.recv(1 << 18))
            if time.perf_counter() > deadline:
                raise Lost(f"only {len(arrived)} of {len(walks)} members got the first message")
        self._payload = payloads[0]
        self._counter = self._dialect.grows_with(self._payload)
        self._crowd.settle(0.1)
        self._prepare()

    def _calibrating(self, link: Link, arrived: set[int], payloads: list[bytes]) -> Callable[[bytes], None]:
        def take(data: bytes, start: int, end: int) -> None:
            if self._dialect.is_message(data, start):
                arrived.add(link.member)
                payloads.append(data[start:end])

        return self._crowd.walking(link, take).feed

    def _prepare(self) -> None:
        walked = {link.member for link in self._senders} | {len(self._crowd.members) - 1}
        self._readers = [lambda: 0] * len(self._got)
        for fd, link in self._crowd.links.items():
            if self._rooms > 1 or link.member in walked:
                self._readers[fd] = self._walker(link)
            else:
                self._readers[fd] = partial(link.sock.recv_into, BUFFER, len(BUFFER), socket.MSG_TRUNC)

    def _walker(self, link: Link) -> Callable[[], int]:
        is_message, number_of, numbers = self._dialect.is_message, self._dialect.number_of, self._numbers
        member = link.member
        checked = len(self._senders) == 1 and member == len(self._crowd.members) - 1
        several = self._rooms > 1

        def take(data: bytes, start: int, end: int) -> None:
            if not is_message(data, start):
                return
            self._heard += 1 if several else server_frame_size(end - start)
            if checked:
                number = number_of(data[start:end])
                if number != numbers.get(member, 0) + 1:
                    raise Lost(f"message {number} came after {numbers.get(member, 0)}")
                numbers[member] = number

        feed, receive = self._crowd.walking(link, take).feed, link.sock.recv

        def read() -> int:
            data = receive(1 << 18)
            if not data:
                raise Lost(f"the server hung up on member {member}")
            self._heard = 0
            feed(data)
            return self._heard

        return read

    def _size_of(self, number: int) -> int:
        """Return what message ``number`` adds to a member's count."""
        if self._rooms > 1:
            return 1
        grown = len(str(self._counter + number)) - len(str(self._counter)) if self._counter else 0
        return server_frame_size(len(self._payload) + grown)

    def _say(self, count: int) -> None:
        """Say the next messages, each sender in its turn."""
        by_sender: dict[Link, list[bytes]] = {}
        for _ in range(count):
            self._sent += 1
            self._upto.append(self._upto[-1] + self._size_of(self._sent))
            sender = self._senders[self._sent % len(self._senders)]
            by_sender.setdefault(sender, []).append(self._dialect.say(self._sent, self._size, sender.member))
        for sender, frames in by_sender.items():
            self._send(sender, b"".join(frames))

    def _send(self, link: Link, data: bytes) -> None:
        data = self._pending.pop(link, b"") + data
        try:
            sent = link.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._pending[link] = data[sent:]

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def closed(self, in_flight: int, seconds: float, warm_up: float = 0.5) -> Result:
        """Keep ``in_flight`` messages under way in the one room: the next is said when the oldest has reached even the
        slowest member. Raises `Lost`."""
        with _undisturbed():
            self._crowd.show_life()
            self._say(in_flight)
            self._keep_saying(in_flight, time.perf_counter() + warm_up)
            before = self._reading()
            self._keep_saying(in_flight, time.perf_counter() + seconds)
            after = self._reading()
            self._drain()
        return self._result(before, after)

    def _keep_saying(self, in_flight: int, until: float) -> None:
        poll, readers, got, clock = self._crowd.epoll.poll, self._readers, self._got, time.perf_counter
        fds, most = list(self._crowd.links), len(readers)
        slowest = fds[-1]
        now = heard = clock()
        while now < until:
            events = poll(0.001 if self._pending else 1, most)
            for fd, _ in events:
                count = readers[fd]()
                got[fd] += count
                self._total += count
            now = clock()
            if events:
                heard = now
            elif now - heard > STALLED_SECONDS:
                raise Lost(f"nothing arrives any more: {self._total} bytes of {self._upto[-1] * len(fds)}")
            if self._pending:
                for link in list(self._pending):
                    self._send(link, b"")
            if self._done < self._sent and got[slowest] >= self._upto[self._done + 1]:
                slowest = min(fds, key=got.__getitem__)
                self._done = bisect_right(self._upto, got[slowest], self._done) - 1
                self._say(in_flight - (self._sent - self._done))

    def paced(self, rate: float, seconds: float, *, record: bool = True) -> Result:
        """Say ``rate`` messages a second, each when it is due, whatever has become of the ones before."""
        with _undisturbed():
            self._crowd.show_life()
            self._pace(rate, max(0.5, 20 / rate), None)
            self._drain()
            before = self._reading()
            latencies, late = array("d"), [0]
            self._pace(rate, seconds, latencies if record else None, late)
            self._drain(latencies if record else None)
            after = self._reading()
        return self._result(before, after, sorted(latencies), late[0] / max(1, round(rate * seconds)))

    def _pace(self, rate: float, seconds: float, latencies: array[float] | None, late: list[int] | None = None) -> None:
        count = max(1, round(rate * seconds))
        clock, begin = time.perf_counter, time.perf_counter() + 0.01
        self._due = {self._sent + 1 + number: begin + number / rate for number in range(count)}
        self._next = [self._sent + 1] * len(self._got)
        for number in range(count):
            due = begin + number / rate
            while (left := due - clock()) > 0:
                self._listen(left if latencies is None else max(0.0, left - SPIN_SECONDS), latencies)
            if late is not None and clock() - due > LATE_SECONDS:
                late[0] += 1
            self._say(1)

    def _listen(self, timeout: float, latencies: array[float] | None) -> int:
        readers, got, upto, clock = self._readers, self._got, self._upto, time.perf_counter
        # epoll counts whole milliseconds, rounded up: where latency counts, what is less is spun away
        events = self._crowd.epoll.poll(timeout if latencies is None or timeout >= 0.001 else 0, len(readers))
        for fd, _ in events:
            count = readers[fd]()
            self._total += count
            have = got[fd] = got[fd] + count
            if latencies is not None:
                now, number = clock(), self._next[fd]
                while number < len(upto) and have >= upto[number]:
                    latencies.append(now - self._due[number])
                    number += 1
                self._next[fd] = number
        return len(events)

    def _drain(self, latencies: array[float] | None = None) -> None:
        """Wait until everything said has reached everybody, and check that it is that and nothing else."""
        heard = time.perf_counter()
        while self._total < self._upto[-1] * self._room_size or self._pending:
            for link in list(self._pending):
                self._send(link, b"")
            if self._listen(0.01, latencies):
                heard = time.perf_counter()
            elif time.perf_counter() - heard > STALLED_SECONDS:
                raise Lost(f"{self._total} of {self._upto[-1] * self._room_size} bytes arrived")
        if self._rooms == 1:
            wrong = sum(self._got[fd] != self._upto[-1] for fd in self._crowd.links)
            if wrong:
                raise Lost(f"{wrong} members did not get exactly what was said")
        self._done = self._sent

    # ── reckoning ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _reading(self) -> tuple[float, ...]:
        """Return the time, three CPU clocks (server, generator, machine) and the messages delivered to everybody, in
        fractions."""
        size, upto = self._room_size, self._upto
        done = len(upto) - 1
        while done and self._total < upto[done] * size:
            done -= 1
        rest = (self._total - upto[done] * size) / (self._size_of(done + 1) * size)
        return time.perf_counter(), self._process.cpu(), time.process_time(), busy_seconds(), done + rest

    def _result(
        self, before: tuple[float, ...], after: tuple[float, ...], latencies: Sequence[float] = (), late: float = 0.0
    ) -> Result:
        seconds, server, generator, machine, messages = (end - start for start, end in zip(before, after, strict=True))
        return Result(
            seconds=seconds,
            messages=messages,
            deliveries=messages * self._room_size,
            server_cpu=server,
            generator_cpu=generator,
            others=max(0.0, machine - server - generator) / seconds / (os.cpu_count() or 1),
            late=late,
            latencies=latencies,
        )


class _undisturbed:
    """No garbage collection of the generator's own while it measures."""

    def __enter__(self) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()
        gc.unfreeze()
