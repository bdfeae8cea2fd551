"""Whose turn it is among the lines somebody types.

Law: lines are done one after the other, in the order in which they were typed. In a terminal a command that needs no
answer of the server goes past a line that has waited for one; nothing that is said goes past anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import trio
from attrs import Factory, define

from chatkit.client import Closed
from chatkit.errors import Disconnected, RequestFailed, UsageError
from chatkit.frontends.commands import Conversation, Needs, Say, needs_of, parse
from chatkit.frontends.display import Display
from chatkit.frontends.exits import Exit
from chatkit.frontends.screens import Screen
from chatkit.private import private_nursery

PATIENCE = 1.0
"""Seconds a line may take before another goes past it; none while the link is lost."""


@define(eq=False)
class Turns:
    """The lines of one user, from a screen to a conversation."""

    conversation: Conversation
    screen: Screen
    talk: trio.CancelScope
    """Round the client: whoever quits past a line that waits has a server that does not answer, and no long goodbye."""
    _waiting: deque[str] = Factory(deque)
    _under_way: str | None = None
    _held: int | None = None
    """If the link was lost when what is under way began: how often it had come back by then. It is held on this side
    until it does so again."""
    _passed: bool = False
    """Whether what is under way was left for another line, to quit."""
    _code: Exit = Exit.OK

    async def take(self, display: Display) -> Exit:
        """Do what is typed until the user wants no more, or an account; return how it went. In a terminal, say at the
        end what was not done. Raises `Disconnected`."""
        try:
            while not (self.conversation.over or self.conversation.registering):
                line = self._waiting.popleft() if self._waiting else await self.screen.read()
                if line is None:
                    break
                await self._turn(line, display)
        finally:
            if self.screen.interactive and not self.conversation.registering:
                with trio.move_on_after(PATIENCE, shield=True):
                    await self._tell_undone(display)
        return Exit.OK if self.screen.interactive else self._code

    async def _turn(self, line: str, display: Display) -> None:
        if not self.screen.interactive:
            await self._do(line, display)
            return
        await self._tell_if_late(line, display)
        async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
            nursery.start_soon(self._go_past, display, nursery.cancel_scope)
            await self._do(line, display)

    async def _do(self, line: str, display: Display) -> None:
        self._under_way, self._held = line, display.returns if display.lost else None
        notices = await self._run(line)
        self._under_way = None
        if notices is not None:
            await display.catch_up()
        await self._tell(notices)

    async def _go_past(self, display: Display, turn: trio.CancelScope) -> None:
        """Once a line has taken long, do what is typed behind it and needs no answer, and keep the rest in order; if
        that is to quit, end the turn."""
        if not display.lost:
            await trio.sleep(PATIENCE)
        needs = Needs.ANSWER
        while needs is not Needs.PASSWORD:  # what is typed behind that may be the password
            line = await self.screen.read()
            needs = Needs.NOTHING if line is None else needs_of(line)
            if line is None:
                self.conversation.over = True
            elif needs is Needs.NOTHING:
                await self._tell(await self._run(line))
            else:
                self._waiting.append(line)
                await self._tell_if_late(line, display)
            if self.conversation.over:
                self._passed = True
                self.talk.deadline = trio.current_time() + PATIENCE
                turn.cancel()
                return

    async def _run(self, line: str) -> Sequence[str] | None:
        """Do a line; return what to tell about it, or None once it is told why it was refused."""
        try:
            return await self.conversation.do(line)
        except (RequestFailed, UsageError) as error:
            self._code = Exit.REFUSED
            await self.screen.error(*said(error))
            return None
        except Disconnected:
            if isinstance(self.conversation.client.status, Closed):
                raise
            # It is not safe to repeat: whoever typed it has to look, and decide.
            self._code = Exit.REFUSED
            await self.screen.error("disconnected", f"perhaps not done, the connection was lost meanwhile: {line}")
            return None

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _tell(self, notices: Sequence[str] | None) -> None:
        for notice in notices or ():
            await self.screen.notice(notice)

    async def _tell_if_late(self, line: str, display: Display) -> None:
        if display.lost and needs_of(line) is not Needs.NOTHING:
            await self.screen.notice(
                f"not {_done(line)} yet: that waits until the connection is back; Ctrl-C quits instead"
            )

    async def _tell_undone(self, display: Display) -> None:
        ended_by_itself = self.conversation.over and not self._passed  # as /logout is, perhaps before its answer
        if self._under_way is not None and not ended_by_itself and needs_of(self._under_way) is not Needs.NOTHING:
            doubt = "" if self._held == display.returns else "perhaps "
            await self.screen.notice(f"{doubt}not {_done(self._under_way)}: {self._under_way}")
        for line in self._waiting:
            await self.screen.notice(f"not {_done(line)}: {line}")


def _done(line: str) -> str:
    return "sent" if isinstance(parse(line), Say) else "done"


def said(error: RequestFailed | UsageError) -> tuple[str, str]:
    """Return a refusal as a code for programs and a sentence for people."""
    return (error.code, error.message) if isinstance(error, RequestFailed) else ("usage", str(error))
