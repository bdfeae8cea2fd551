"""An event on its way to the handlers."""

from __future__ import annotations

from typing import Any

from attrs import Factory, define

from chatkit.bot.ops import is_bots
from chatkit.client import Message, Position
from chatkit.protocol.messages import Event, ReceiveMessage, UnknownEvent


@define(eq=False)
class Incoming:
    """What happened, where and by whom; ``position`` is None for what is ephemeral."""

    event: Event
    timestamp: int
    room: str | None
    user: str | None
    position: Position | None = None
    message: Message | None = None
    answers: list[Incoming] = Factory(list)
    """Messages that the handler took as answers: they are done when it is."""

    @classmethod
    def of(cls, event: Event, timestamp: int, position: Position | None = None) -> Incoming:
        """Take in an event."""
        if isinstance(event, UnknownEvent):
            room, user = event.data.get("room"), event.data.get("user")
        else:
            room, user = getattr(event, "room", None), getattr(event, "user", None)
        message = None
        if isinstance(event, ReceiveMessage) and position is not None and not event.deleted:
            message = Message(
                room=event.room,
                epoch=position.epoch,
                seq=event.seq,
                user=event.user,
                text=event.text,
                binary=event.binary,
                op=event.op,
                reply_to=event.reply_to,
                timestamp=timestamp,
            )
        return cls(event, timestamp, _text(room), _text(user), position, message)

    @property
    def text(self) -> str:
        """What was said; empty if it is no text."""
        return (self.message.text if self.message else None) or ""

    @property
    def by_bot(self) -> bool:
        """Whether a bot said it."""
        return self.message is not None and is_bots(self.message.op)

    @property
    def seq(self) -> int:
        """Where it stands in the log; 0 for what is ephemeral."""
        return self.position.seq if self.position else 0


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def is_durable(event: Event) -> bool:
    """Whether an event is an entry of a room's log, which its reader takes."""
    if isinstance(event, UnknownEvent):
        return "seq" in event.data
    return getattr(event, "seq", None) is not None
