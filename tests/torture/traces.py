"""Reading what strace wrote of a server: did anything leave a socket before its commit was on disk?

A message is recognised by its op: in the pages written to the write-ahead log, and in the events that are sent. A reply
names only the seq, so the ops by seq are given. The tracer sees a call's end before the thread goes on, so the lines
stand in an order that respects causes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import define, field

CALLS = "fdatasync,fsync,pwrite64,sendto,sendmsg,write,writev"
OPTIONS = ("-f", "-yy", "-qq", "-s", "100000", "-e", f"trace={CALLS}")
"""For strace, so that `Trace` understands what it writes."""

_LINE = re.compile(r"(\d+) +(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<call>\w+)\()(?P<rest>.*)", re.DOTALL)
_RESULT = re.compile(r"\) += (-?\d+)")
_UNFINISHED = "<unfinished ...>"
_REPLY = re.compile(
    r'\{\\"action\\":\\"success\\",\\"ref\\":\d+,\\"data\\":\{\\"room\\":\\"[^"]*\\",\\"epoch\\":\\"\w+\\",\\"seq\\":(\d+)'
)
_SYNCS = ("fdatasync", "fsync")
_SENDS = ("sendto", "sendmsg", "write", "writev")


@define(eq=False)
class Trace:
    """A trace being read. ``acked`` are the ops by the seq they were acknowledged with."""

    acked: Mapping[int, str]
    replies: int = 0
    """Replies that were found to leave after their commit was on disk."""
    events: int = 0
    """The same of events."""
    violations: list[str] = field(factory=list)
    _begun: dict[str, tuple[str, str]] = field(factory=dict)
    """Thread to the call it is in, and its arguments so far."""
    _written: set[str] = field(factory=set)
    _syncing: dict[str, set[str]] = field(factory=dict)
    """Thread to the ops that had been written when its sync began."""
    _on_disk: set[str] = field(factory=set)

    def read(self, lines: Iterable[str]) -> Trace:
        """Read lines of a trace, in order."""
        for line in lines:
            match = _LINE.match(line)
            if match is None:
                continue
            thread, rest = match[1], match["rest"]
            if match["resumed"]:
                call, arguments = self._begun.pop(thread, (match["resumed"], ""))
                self._end(thread, call, arguments, rest)
                continue
            call = match["call"]
            self._begin(thread, call, rest)
            if rest.rstrip().endswith(_UNFINISHED):
                self._begun[thread] = call, rest
            else:
                self._end(thread, call, rest, rest)
        return self

    def _begin(self, thread: str, call: str, arguments: str) -> None:
        if call in _SYNCS and "-wal>" in arguments:
            self._syncing[thread] = set(self._written)
        elif call in _SENDS and "<TCP" in arguments[:20]:
            self._judge(arguments)

    def _end(self, thread: str, call: str, arguments: str, rest: str) -> None:
        result = _RESULT.search(rest)
        succeeded = result is not None and not result[1].startswith("-")
        if call in _SYNCS:
            synced = self._syncing.pop(thread, set())
            if succeeded:
                self._on_disk |= synced
        elif call == "pwrite64" and succeeded and "-wal>" in arguments[:300]:
            self._written.update(op for op in self.acked.values() if op not in self._written and op in arguments)

    def _judge(self, sent: str) -> None:
        for seq in map(int, _REPLY.findall(sent)):
            op = self.acked.get(seq)
            if op is None or op not in self._on_disk:
                self.violations.append(f"the reply for {op} at {seq} left before its commit was on disk")
            else:
                self.replies += 1
        for op in self.acked.values():
            if f'\\"op\\":\\"{op}\\"' in sent:
                if op in self._on_disk:
                    self.events += 1
                else:
                    self.violations.append(f"the event with {op} left before its commit was on disk")
