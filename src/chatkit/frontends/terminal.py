"""A terminal with a line to type in: what arrives appears above it.

prompt_toolkit runs on asyncio, so asyncio is the host and Trio its guest, in one thread (see
`trio.lowlevel.start_guest_run`). `Stage` is the asyncio side, `TerminalScreen` the Trio side.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import outcome
import trio

from chatkit.errors import MissingExtra
from chatkit.frontends.commands import COMMANDS, Conversation
from chatkit.frontends.exits import Exit
from chatkit.frontends.lines import Line
from chatkit.frontends.screens import LineScreen, Screen
from chatkit.protocol import messages as m

try:
    from prompt_toolkit import PromptSession, print_formatted_text
    from prompt_toolkit.application import run_in_terminal
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.formatted_text import FormattedText
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.output import ColorDepth
except ImportError as error:
    raise MissingExtra("the line client", "cli") from error

MOST_PENDING = 500
"""Lines that may wait to be drawn before whoever shows another one waits."""
Talk = Callable[[Callable[[Conversation], Screen]], Awaitable[int]]


def run_beside_prompt(talk: Talk) -> int:
    """Run ``talk`` under Trio beside a prompt; give it a function that opens the screen. Raises what it raises."""
    return asyncio.run(_host(talk))


async def _host(talk: Talk) -> int:
    stage = Stage()
    finished: asyncio.Future[outcome.Outcome[int]] = stage.loop.create_future()

    async def guest() -> int:
        with stage.scope:
            stage.token = trio.lowlevel.current_trio_token()
            return await talk(lambda conversation: TerminalScreen(conversation, stage))
        return stage.ended_by

    for number, code in ((signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED)):
        stage.loop.add_signal_handler(number, stage.end, code)
    trio.lowlevel.start_guest_run(
        guest,
        run_sync_soon_threadsafe=stage.loop.call_soon_threadsafe,
        done_callback=finished.set_result,
        host_uses_signal_set_wakeup_fd=True,
    )
    result = await finished
    await stage.close()
    return result.unwrap()


class Typed(InMemoryHistory):
    """What was typed, to be called back; passwords are not."""

    def __init__(self) -> None:
        super().__init__()
        self.forgetful = False

    def append_string(self, string: str) -> None:
        """Remember a line."""
        if not self.forgetful:
            super().append_string(string)


class Stage:
    """The asyncio side: the prompt, and the drawing of lines above it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.scope = trio.CancelScope()
        self.token: trio.lowlevel.TrioToken | None = None
        self.ended_by = Exit.OK
        self._pending: deque[Line] = deque()
        self._drawing: asyncio.Task[None] | None = None
        self._drawn = trio.Event()
        self._prompting: asyncio.Task[None] | None = None
        self._session: PromptSession[str] | None = None
        self._history = Typed()
        self._depth = ColorDepth.TRUE_COLOR if os.environ.get("COLORTERM") in ("truecolor", "24bit") else None

    def end(self, code: Exit) -> None:
        """End the talk with this exit code, as a signal or Ctrl-C asks."""
        self.ended_by = code
        self.in_trio(self.scope.cancel)

    def in_trio(self, call: Callable[..., object], *arguments: object) -> None:
        """Call something in Trio's part of the thread, if that has not ended."""
        if self.token is not None:
            with suppress(trio.RunFinishedError):
                self.token.run_sync_soon(call, *arguments)

    # ── typing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def prompt(self, label: Callable[[], str], completer: Completer, typed: Callable[[str | None], None]) -> None:
        """Show the prompt, and call ``typed`` in Trio for each line, at the end of input with None."""
        self._session = PromptSession(
            label,
            completer=completer,
            complete_while_typing=False,
            erase_when_done=True,
            color_depth=self._depth,
            history=self._history,
        )
        self._prompting = self.loop.create_task(self._prompt(self._session, typed))

    async def _prompt(self, session: PromptSession[str], typed: Callable[[str | None], None]) -> None:
        while True:
            try:
                line = await session.prompt_async(handle_sigint=False)
            except EOFError:
                self.in_trio(typed, None)
                return
            except KeyboardInterrupt:
                self.end(Exit.INTERRUPTED)
                return
            self.in_trio(typed, line)

    def refresh(self) -> None:
        """Draw the prompt anew: its label may say something else now."""
        if self._session is not None:
            self._session.app.invalidate()

    def hide(self, hidden: bool) -> None:
        """Let what is typed be shown as stars and not be remembered, or shown again."""
        self._history.forgetful = hidden
        if self._session is not None:
            self._session.is_password = hidden
        self.refresh()

    # ── drawing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def draw(self, line: Line) -> trio.Event | None:
        """Draw a line soon; if too many wait already, return an event that says when they are drawn."""
        self._pending.append(line)
        if self._drawing is None or self._drawing.done():
            self._drawn = trio.Event()
            self._drawing = self.loop.create_task(self._draw())
        return self._drawn if len(self._pending) >= MOST_PENDING else None

    async def _draw(self) -> None:
        try:
            while self._pending:
                await run_in_terminal(self._draw_pending)
        finally:
            self.in_trio(self._drawn.set)

    def _draw_pending(self) -> None:
        while self._pending:
            pieces = [(style.value, text) for style, text in self._pending.popleft().pieces]
            print_formatted_text(FormattedText(pieces), color_depth=self._depth)

    async def close(self) -> None:
        """Take the prompt away and draw what still waits."""
        self.token = None
        if self._drawing is not None:  # never cancelled: the prompt would wait for its end for good
            await asyncio.wait([self._drawing])
        if self._prompting is not None:
            self._prompting.cancel()
            await asyncio.wait([self._prompting])
        self._draw_pending()


class TerminalScreen(LineScreen):
    """The Trio side: a line to type in, and lines above it."""

    interactive = True

    def __init__(self, conversation: Conversation, stage: Stage) -> None:
        super().__init__(conversation)
        self._stage = stage
        self._send, self._typed = trio.open_memory_channel[str](float("inf"))
        self._answer, self._answered = trio.open_memory_channel[str](float("inf"))
        self._prompting = False
        self._asking = ""
        conversation.ask_secret = self._ask_secret

    def _take(self, line: str | None) -> None:
        """Take in a line, as the answer if something is asked; the end of input is the end of everything."""
        if line is None:
            self._send.close()
            self._answer.close()
        elif self._asking:
            self._answer.send_nowait(line)
        else:
            self._send.send_nowait(line)

    async def _ask_secret(self, label: str) -> str:
        if self._typed.statistics().current_buffer_used:  # typed ahead: never to be said in a room
            return await self._typed.receive()
        self._asking = label
        self._stage.hide(True)
        try:
            return await _next(self._answered) or ""
        finally:
            self._asking = ""
            self._stage.hide(False)

    async def read(self) -> str | None:
        if not self._prompting:
            self._prompting = True
            self._stage.prompt(self._label, CommandCompleter(self._conversation), self._take)
        return await _next(self._typed)

    async def show(self, line: Line) -> None:
        drawn = self._stage.draw(line)
        if drawn is not None:
            await drawn.wait()

    async def event(self, event: m.Event, timestamp: int) -> None:
        await super().event(event, timestamp)
        self._stage.refresh()

    def _label(self) -> str:
        if self._asking:
            return self._asking
        state = self._conversation.client.state
        room = state.rooms.get(self._conversation.current)
        users = f" ({room.users})" if room is not None else ""
        return f"{self._conversation.current}{users} {state.user}> "


async def _next(lines: trio.MemoryReceiveChannel[str]) -> str | None:
    try:
        return await lines.receive()
    except trio.EndOfChannel:
        return None


class CommandCompleter(Completer):
    """Completes a command's name, and behind ``/join`` a room's."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        name, space, argument = text.partition(" ")
        if space and name == "/join":
            yield from _matching(argument, self._conversation.client.state.rooms)
        elif not space and text.startswith("/"):
            yield from _matching(
                text, (f"/{command.name}{' ' * bool(command.argument)}" for command in COMMANDS.values())
            )


def _matching(begun: str, words: Iterable[str]) -> Iterable[Completion]:
    for word in sorted(words):
        if word.startswith(begun):
            yield Completion(word, start_position=-len(begun))
