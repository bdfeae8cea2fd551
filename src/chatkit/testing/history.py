"""What happened in a chat as everybody saw it, and whether that may have happened.

The laws, for each log (one life of one room):

1. What was acknowledged is in the log, at the seq it was acknowledged with; an op stands there once.
2. A seq means one op, for everybody.
3. What a client sees of a log follows on: each seq is one more than the last, unless it was told of a gap.
4. What was refused appears nowhere. An unknown outcome is no refusal.
5. Nobody sees what is said in a room they are not in.

No I/O, no clock: facts are told as they happen, and judged at the end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TypeAlias

from attrs import Factory, define, field, frozen

Kept: TypeAlias = tuple[int, str | None]
"""An entry of a log: its seq and its op, if it has one."""

AROUND = 6
"""Facts of the same client and log that a story tells before and after the one that broke the law."""


class What(StrEnum):
    """What a fact says."""

    SEND = "sends"
    ACK = "is acknowledged"
    REFUSED = "is refused"
    UNKNOWN = "has no outcome for"
    JOIN = "is in"
    LEAVE = "is out of"
    RESUME = "goes on in"
    GAP = "is told of a gap in"
    CAUGHT_UP = "is told to have caught up in"
    RECEIVE = "sees"
    KNOW = "has read up to"


@frozen(kw_only=True)
class Fact:
    """One thing that happened to one client. ``time`` is in seconds, by whatever clock the recorder has."""

    what: What
    client: str
    time: float
    log: str = ""
    seq: int | None = None
    op: str | None = None
    note: str = ""

    def __str__(self) -> str:
        at = "" if self.seq is None else f" at {self.seq}"
        parts = (f"{self.time:10.4f}", f"{self.client:<12}", self.what.value, self.op or "", self.log + at, self.note)
        return " ".join(part for part in parts if part)


@frozen(kw_only=True)
class Violation:
    """A law that was broken: by what, and the facts around it."""

    law: str
    """Which one, in a word: ``lost``, ``twice``, ``two_ops``, ``order``, ``hole``, ``refused``, ``stranger``,
    ``resume``, ``caught_up``."""
    sentence: str
    story: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join((f"{self.law}: {self.sentence}", *self.story))


class HistoryViolated(AssertionError):
    """Something happened that may not happen. ``violations`` has all of it, the text the first few with their story."""

    def __init__(self, violations: list[Violation]) -> None:
        shown = "\n\n".join(str(violation) for violation in violations[:3])
        more = f"\n\nand {len(violations) - 3} more" if len(violations) > 3 else ""
        super().__init__(f"the history is not possible\n{shown}{more}")
        self.violations = violations


@define(eq=False)
class History:
    """A recorder of facts and their judge.

    A ``client`` is whoever has a position of their own: give a program that reads twice two names. A ``log`` is any
    text that names one life of one room, such as ``general#4f02``.
    """

    facts: list[Fact] = Factory(list)
    _now: float = field(default=0.0, init=False)
    _kept: dict[str, dict[int, str | None]] = field(init=False, default=Factory(dict))
    _twice: list[tuple[str, int]] = field(init=False, default=Factory(list))
    _forgotten: set[str] = field(init=False, default=Factory(set))

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def at(self, time: float) -> History:
        """Say when the next facts happen; returns itself, so that ``history.at(now).send(…)`` reads well."""
        self._now = time
        return self

    def send(self, client: str, op: str, room: str = "") -> None:
        """A client asks for a message to be kept. Each try counts."""
        self._tell(What.SEND, client, op=op, note=f"to {room}" if room else "")

    def ack(self, client: str, log: str, seq: int, op: str) -> None:
        """A client is told that its message is kept."""
        self._tell(What.ACK, client, log, seq, op)

    def refused(self, client: str, op: str, code: str = "") -> None:
        """A client is told that its message is not kept."""
        self._tell(What.REFUSED, client, op=op, note=code)

    def unknown(self, client: str, op: str) -> None:
        """A client is told that nobody knows (``storage_unavailable``)."""
        self._tell(What.UNKNOWN, client, op=op)

    def join(self, client: str, log: str, seq: int) -> None:
        """A client is in a room; what it sees begins behind ``seq``."""
        self._tell(What.JOIN, client, log, seq)

    def leave(self, client: str, log: str) -> None:
        """A client is in the room no more."""
        self._tell(What.LEAVE, client, log)

    def resume(self, client: str, log: str, seq: int) -> None:
        """A client is told that it goes on behind ``seq``, where it was."""
        self._tell(What.RESUME, client, log, seq)

    def gap(self, client: str, log: str, seq: int) -> None:
        """A client is told that what it sees goes on behind ``seq``, wherever it was."""
        self._tell(What.GAP, client, log, seq)

    def caught_up(self, client: str, log: str, seq: int) -> None:
        """A client is told that it has seen everything up to ``seq``."""
        self._tell(What.CAUGHT_UP, client, log, seq)

    def receive(self, client: str, log: str, seq: int, op: str | None = None) -> None:
        """A client sees an entry of a log."""
        self._tell(What.RECEIVE, client, log, seq, op)

    def know(self, client: str, log: str, seq: int) -> None:
        """A client has everything up to ``seq`` by other means, such as a page of history: it may go on from there."""
        self._tell(What.KNOW, client, log, seq)

    def keep(self, log: str, entries: Iterable[Kept]) -> None:
        """Say what a log holds in the end."""
        kept = self._kept.setdefault(log, {})
        for seq, op in entries:
            if seq in kept:
                self._twice.append((log, seq))
            kept[seq] = op

    def forget(self, log: str) -> None:
        """Say that a log is gone, with its room or its store: nobody can ask for what was kept there."""
        self._forgotten.add(log)

    def _tell(
        self,
        what: What,
        client: str,
        log: str = "",
        seq: int | None = None,
        op: str | None = None,
        note: str = "",
    ) -> None:
        self.facts.append(Fact(what=what, client=client, time=self._now, log=log, seq=seq, op=op, note=note))

    # ── judging ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def check(self) -> None:
        """Raises `HistoryViolated` if something happened that may not happen."""
        violations = self.violations()
        if violations:
            raise HistoryViolated(violations)

    def violations(self) -> list[Violation]:
        """Return every law that was broken, those about logs first."""
        return [
            *self._judge_logs(),
            *self._judge_acks(),
            *self._judge_meanings(),
            *self._judge_refusals(),
            *self._walk(),
        ]

    def _judge_logs(self) -> Iterator[Violation]:
        for log, seq in self._twice:
            yield self._broken("twice", f"{log} holds two entries at {seq}", log=log, seq=seq)
        for log, kept in self._kept.items():
            for expected, seq in enumerate(sorted(kept), start=1):
                if seq != expected:
                    yield self._broken("hole", f"{log} holds nothing at {expected}", log=log, seq=expected)
                    break
            for op, times in Counter(op for op in kept.values() if op is not None).items():
                if times > 1:
                    where = ", ".join(str(seq) for seq, one in kept.items() if one == op)
                    yield self._broken("twice", f"{log} holds {op} {times} times, at {where}", op=op)

    def _judge_acks(self) -> Iterator[Violation]:
        for fact in self.facts:
            if fact.what is not What.ACK or fact.log in self._forgotten:
                continue
            kept = self._kept.get(fact.log, {})
            if fact.seq not in kept or kept[fact.seq] != fact.op:
                found = kept.get(fact.seq or 0) or "nothing"
                sentence = f"{fact.op} was acknowledged at {fact.seq} in {fact.log}, which holds {found} there"
                yield self._broken("lost", sentence, op=fact.op, log=fact.log, seq=fact.seq)

    def _judge_meanings(self) -> Iterator[Violation]:
        ops: dict[tuple[str, int], str | None] = {
            (log, seq): op for log, kept in self._kept.items() for seq, op in kept.items()
        }
        seqs: dict[tuple[str, str], int] = {}
        for fact in self.facts:
            if fact.what not in (What.ACK, What.RECEIVE) or fact.seq is None:
                continue
            meant = ops.setdefault((fact.log, fact.seq), fact.op)
            if meant != fact.op:
                sentence = f"{fact.seq} in {fact.log} is {meant} to one and {fact.op} to another"
                yield self._broken("two_ops", sentence, log=fact.log, seq=fact.seq)
            if fact.op is not None and (first := seqs.setdefault((fact.log, fact.op), fact.seq)) != fact.seq:
                sentence = f"{fact.op} is at {first} and at {fact.seq} in {fact.log}"
                yield self._broken("twice", sentence, op=fact.op)

    def _judge_refusals(self) -> Iterator[Violation]:
        tries: Counter[str] = Counter()
        refusals: Counter[str] = Counter()
        seen: set[str] = {op for kept in self._kept.values() for op in kept.values() if op is not None}
        for fact in self.facts:
            op = fact.op or ""
            tries[op] += fact.what is What.SEND
            refusals[op] += fact.what is What.REFUSED
            if fact.what in (What.RECEIVE, What.ACK) and op:
                seen.add(op)
        for op, times in refusals.items():
            if times and times >= tries[op] and op in seen:
                yield self._broken("refused", f"{op} was refused at every try, and appears", op=op)

    def _walk(self) -> Iterator[Violation]:
        """Follow each client through each log; each client's first offence in a log counts, for others follow from
        it."""
        readers: dict[tuple[str, str], _Reader] = defaultdict(_Reader)
        offended: set[tuple[str, str]] = set()
        for number, fact in enumerate(self.facts):
            if not fact.log or fact.what is What.ACK:
                continue
            key = fact.client, fact.log
            offence = readers[key].take(fact)
            if offence is not None and key not in offended:
                offended.add(key)
                law, sentence = offence
                yield self._broken(law, f"{fact.client} {sentence}", log=fact.log, seq=fact.seq, around=number)

    # ── the story ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _broken(
        self,
        law: str,
        sentence: str,
        *,
        log: str | None = None,
        seq: int | None = None,
        op: str | None = None,
        around: int | None = None,
    ) -> Violation:
        told = {
            number
            for number, fact in enumerate(self.facts)
            if (op is not None and fact.op == op) or (log is not None and (fact.log, fact.seq) == (log, seq))
        }
        if around is not None:
            told |= self._near(around)
        story = (f"{'>' if number == around else ' '} {self.facts[number]}" for number in sorted(told))
        return Violation(law=law, sentence=sentence, story=tuple(story))

    def _near(self, number: int) -> set[int]:
        client, log = self.facts[number].client, self.facts[number].log
        own = [i for i, fact in enumerate(self.facts) if fact.client == client and fact.log == log]
        here = own.index(number)
        return set(own[max(0, here - AROUND) : here + AROUND + 1])


@define(eq=False)
class _Reader:
    """One client in one log."""

    inside: bool = False
    seq: int | None = None
    known: int = 0

    def take(self, fact: Fact) -> tuple[str, str] | None:
        """Take the next fact; return the law it breaks and how."""
        seq, before = fact.seq or 0, self.seq
        match fact.what:
            case What.JOIN | What.GAP:
                self.inside, self.seq = True, seq
            case What.LEAVE:
                self.inside = False
            case What.KNOW:
                self.known = max(self.known, seq)
            case What.RESUME:
                self.inside, self.seq = True, seq
                if before is None or not before <= seq <= max(before, self.known):
                    return "resume", f"goes on behind {seq} in {fact.log}, but was at {before}"
            case What.CAUGHT_UP if before != seq:
                return "caught_up", f"has caught up to {seq} in {fact.log}, but is at {before}"
            case What.RECEIVE:
                return self._receive(fact.log, seq)
            case _:
                pass
        return None

    def _receive(self, log: str, seq: int) -> tuple[str, str] | None:
        before = self.seq
        self.seq = seq
        if not self.inside or before is None:
            return "stranger", f"sees {seq} in {log} without being there"
        if seq <= before:
            return "order", f"sees {seq} in {log} after {before}"
        if seq > before + 1:
            return "hole", f"sees {seq} in {log} after {before}, and was not told of a gap"
        return None
