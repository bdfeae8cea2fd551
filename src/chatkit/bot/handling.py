"""Running one handler for one event: guards, arguments, deadline, hooks, and what becomes of its errors.

Laws: whatever a handler raises, the bot goes on; an error ends at the first hook that takes it, at the latest in the
log and a short reply; cancellation passes through.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from chatkit.bot.command import Command, Handler
from chatkit.bot.contain import contained
from chatkit.bot.context import Context
from chatkit.bot.guard import Guard
from chatkit.bot.routing import Call
from chatkit.bot.scope import Scope
from chatkit.client import Closed
from chatkit.errors import ChatError, CommandFailed, ConversationEnded, NotAllowed

log = logging.getLogger("chatkit.bot")

ENDED = {
    "timeout": "No answer came, so I have stopped waiting.",
    "cancelled": "All right, never mind.",
    "busy": "There is a question open already; one at a time, please.",
}
"""What is said when a conversation ends without an answer and the handler lets it pass."""
HOOK_TIMEOUT = 10.0
"""Seconds that error hooks and the last reply of a handler may take."""


async def handle(call: Call, context: Context, bot: Scope, deadline: float) -> bool:
    """Run a handler. Return False if it could not come to its end because the link is gone for good: the event is not
    dealt with then."""
    try:
        await contained(_guarded(call, context, bot, deadline))
    except Exception as error:
        return await _ended_by(error, call, context, bot)
    except BaseExceptionGroup as group:
        # A handler's own nursery: what failed in it while it was being cancelled must not end more than the handler.
        failed, others = group.split(Exception)
        if failed is not None:
            log.error("%s failed while it was cancelled", call.handler.name, exc_info=failed)
        raise (others or group) from None
    return True


async def _ended_by(error: Exception, call: Call, context: Context, bot: Scope) -> bool:
    if isinstance(context.client.status, Closed):
        return False
    with trio.move_on_after(HOOK_TIMEOUT):
        await _report(error, call, context, bot)
    return True


async def _guarded(call: Call, context: Context, bot: Scope, deadline: float) -> None:
    admitted: list[Guard] = []
    try:
        for guard in (*(() if call.scope is bot else bot.guards), *call.scope.guards, *call.handler.guards):
            await guard.admit(context)
            admitted.append(guard)
        with trio.move_on_after(call.handler.deadline or deadline) as scope:
            context.bound_by(scope)
            await _with_arguments(call, context, bot)
        if scope.cancelled_caught:
            log.warning("%s took too long and was cancelled", call.handler.name)
            raise CommandFailed("That took too long, and was given up.")
    finally:
        for guard in admitted:
            guard.release(context)


async def _with_arguments(call: Call, context: Context, bot: Scope) -> None:
    handler = call.handler
    args: list[object] = []
    kwargs: dict[str, object] = {}
    if isinstance(handler, Command):
        prefix, converters = context.bot.prefix, context.bot.converters
        args, kwargs = await handler.signature.fill(call.line, context, converters, handler.usage(prefix))

    async def call_it() -> None:
        await handler.function(context, *args, **kwargs)

    run: Callable[[], Awaitable[None]] = call_it
    for scope in (call.scope,) if call.scope is bot else (call.scope, bot):
        run = _wrapped(scope, context, run)
    await run()


def _wrapped(scope: Scope, context: Context, run: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    hook = scope.around_hook
    if hook is None:
        return run
    return lambda: hook(context, run)


async def _report(error: Exception, call: Call, context: Context, bot: Scope) -> None:
    hooks = [call.handler.on_error, call.scope.error_hook, None if call.scope is bot else bot.error_hook]
    for hook in hooks:
        if hook is None or isinstance(error, NotAllowed | ConversationEnded):
            continue
        try:
            await contained(hook(context, error))
            return
        except Exception as passed_on:
            error = passed_on
    try:
        await _tell(error, call.handler, context)
    except ChatError as unsaid:
        log.warning("%s cannot answer: %s", call.handler.name, unsaid)


async def _tell(error: Exception, handler: Handler, context: Context) -> None:
    match error:
        case NotAllowed():
            if context.told.tell((handler.name, context.key("member")), error):
                await context.reply(str(error), key="refused")
        case CommandFailed():
            await context.reply(str(error), key="failed")
        case ConversationEnded(reason="left", user=user) if user:
            await context.reply(f"{user} is gone, so I have stopped waiting.", key="ended")
        case ConversationEnded(reason=reason):
            if reason in ENDED:
                await context.reply(ENDED[reason], key="ended")
        case _:
            log.error("%s failed for %s", handler.name, context.user, exc_info=error)
            if isinstance(handler, Command):
                await context.reply(f"Sorry, something went wrong in {handler.full_name}.", key="failed")
