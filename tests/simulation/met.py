"""Counting what a world has met: that the interesting paths were gone is asserted, not hoped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field

from chatkit.backend.memory import MemoryBackend
from chatkit.backend.records import Append, Appended
from chatkit.engine.decisions import CloseSession
from chatkit.engine.engine import Engine
from chatkit.server.channel import Channel
from chatkit.server.core import Core
from chatkit.server.session import Session
from chatkit.transport.outlet import Outlet

CLIENT_OUTLET = 131_072
"""What a client's outlet may hold, by default; every server here has less."""

MUST_MEET = (
    "direct write",
    "full outlet",
    "pull mode",
    "pull from the store",
    "group commit",
    "commit of ten",
    "duplicate",
    "takeover",
    "resume ok",
    "resume reset",
    "linger",
    "back within linger",
)


@define(eq=False)
class Met:
    """How often each path was gone, and the most any server's outlet held beyond its bound."""

    times: Counter[str] = field(factory=Counter)
    most_over: int = 0

    @contextmanager
    def counting(self) -> Iterator[Met]:
        """Count while the block runs."""
        undo: list[tuple[type, str, Any]] = []

        def watch(owner: type, name: str, around: Callable[[Any], Any]) -> None:
            original = owner.__dict__[name]
            undo.append((owner, name, original))
            setattr(owner, name, around(original))

        watch(Outlet, "push", self._push)
        watch(Outlet, "_keep", self._keep)
        watch(Session, "pull", self._counted("pull mode"))
        watch(Channel, "render", self._counted("pull from the store"))
        watch(Core, "lose_session", self._counted("linger"))
        watch(Core, "carry_out", self._carry_out)
        watch(Engine, "handle", self._resume)
        watch(MemoryBackend, "commit", self._commit)
        try:
            yield self
        finally:
            for owner, name, original in reversed(undo):
                setattr(owner, name, original)

    def _counted(self, what: str) -> Callable[[Any], Any]:
        def around(original: Any) -> Any:
            def watched(*args: Any, **kwargs: Any) -> Any:
                self.times[what] += 1
                return original(*args, **kwargs)

            return watched

        return around

    def _push(self, original: Any) -> Any:
        def push(outlet: Outlet, blob: bytes) -> bool:
            direct = outlet._direct
            taken: bool = original(outlet, blob)
            if outlet.bound != CLIENT_OUTLET:
                self.times["direct write"] += direct and outlet._direct
                self.times["full outlet"] += not taken
            return taken

        return push

    def _keep(self, original: Any) -> Any:
        def keep(outlet: Outlet, blob: bytes, sent: int) -> None:
            original(outlet, blob, sent)
            if outlet.bound != CLIENT_OUTLET:
                self.most_over = max(self.most_over, outlet.waiting_bytes - outlet.bound)

        return keep

    def _carry_out(self, original: Any) -> Any:
        def carry_out(core: Core, effects: Any) -> None:
            known = list(effects)
            lost = {session.id for _, session in core._lost}
            for effect in known:
                if isinstance(effect, CloseSession) and effect.code == 4409:
                    self.times["back within linger" if effect.session in lost else "takeover"] += 1
            original(core, known)

        return carry_out

    def _resume(self, original: Any) -> Any:
        def handle(*args: Any) -> Any:
            decision = original(*args)
            for answer in (getattr(getattr(decision, "reply", None), "resume", None) or {}).values():
                self.times[f"resume {answer}"] += 1
            return decision

        return handle

    def _commit(self, original: Any) -> Any:
        async def commit(backend: MemoryBackend, changes: Any) -> Any:
            outcomes = await original(backend, changes)
            appends = sum(isinstance(change, Append) for change in changes)
            self.times["group commit"] += appends > 1
            self.times["commit of ten"] += appends >= 10
            self.times["duplicate"] += sum(isinstance(one, Appended) and one.duplicate for one in outcomes)
            return outcomes

        return commit
