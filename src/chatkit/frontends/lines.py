"""Events as lines for people: which words, in which style. No colours and no terminal here."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from attrs import frozen

from chatkit.client.order import moment
from chatkit.frontends.commands import Conversation
from chatkit.frontends.commands.words import REMOVED, because, when
from chatkit.frontends.visible import visible
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.times import to_datetime

SHOWN_BYTES = 32
MOST_SHOWN = 5_000
"""Messages of which it is known that they are on a screen; who scrolls back further is not told of a removal."""


class Style(Enum):
    """How a piece of a line looks: the style of the terminal, in the words of prompt_toolkit."""

    TIME = "fg:#808080"
    ROOM = "fg:#808080 bold"
    NAME = "fg:#007bff bold"
    TEXT = ""
    NOTICE = "fg:#00bfff italic"
    ERROR = "fg:#ff4d4d"


@frozen
class Line:
    """One line as pieces of text in their styles, safe to write to a terminal."""

    pieces: tuple[tuple[Style, str], ...]

    @property
    def plain(self) -> str:
        """The text alone."""
        return "".join(text for _, text in self.pieces)


def notice_line(text: str) -> Line:
    """A notice of the system."""
    return Line(((Style.NOTICE, f"* {visible(text)}"),))


def error_line(text: str) -> Line:
    """Something that went wrong."""
    return Line(((Style.ERROR, f"! {visible(text)}"),))


class Shown:
    """What stands on a screen: messages with what they say, of which the older ones are forgotten, and mutes."""

    def __init__(self) -> None:
        self._messages: dict[tuple[str, int], tuple[str, str]] = {}
        self._mutes: dict[str, mod.Muted] = {}

    def add(self, said: m.ReceiveMessage, timestamp: int, epoch: str) -> None:
        """A message is shown."""
        if not said.deleted:
            self._messages[epoch, said.seq] = said.user, f"{local_time(timestamp):%H:%M:%S}"
        if len(self._messages) > MOST_SHOWN:
            del self._messages[next(iter(self._messages))]

    def remove(self, epoch: str, seq: int) -> tuple[str, str] | None:
        """A message was removed: return who said it and the time that stands before it, if it is shown."""
        return self._messages.pop((epoch, seq), None)

    def is_new(self, epoch: str, muted: mod.Muted) -> bool:
        """Whether a mute may not have been told yet: a server says it again on every link. One without an end may have
        been lifted and set again while nobody listened; one with an end has another end then."""
        before, self._mutes[epoch] = self._mutes.get(epoch), muted
        return muted.until is None or before != muted

    def may_speak(self, epoch: str) -> None:
        """A mute is over."""
        self._mutes.pop(epoch, None)


def line_of(event: m.Event, timestamp: int, conversation: Conversation, shown: Shown) -> Line | None:
    """Return the line to show for an event; None for one that only changes counts and lists, that says again what
    stands there, or removes what is not shown: where that would stand is said already that it was removed."""
    me = conversation.client.user
    match event:
        case m.ReceiveMessage():
            shown.add(event, timestamp, _epoch(event.room, conversation))
            return _message_line(event, timestamp, conversation)
        case m.UserJoined(room=room, user=user, users=users) if user != me:
            return notice_line(f"{user} has joined {room} ({users})")
        case m.UserLeft(room=room, user=user, users=users) if user != me:
            return notice_line(f"{user} has left {room} ({users})")
        case m.UserRenamed(user=user, was=was) if user != me:
            return notice_line(f"{was} is {user} now")
        case m.RoomCreated(room=room) if room != conversation.current:
            return notice_line(f"there is a new room: {room}")
        case m.RoomDeleted(room=room):
            return notice_line(f"the room {room} has been deleted")
        case mod.MessageDeleted(room=room, user=user, about=about):
            removed = shown.remove(_epoch(room, conversation), about)
            if removed is None:
                return None
            author, clock = removed
            whose = "your" if author == me else f"{author}'s"
            where = "" if room == conversation.current else f" in {room}"
            return notice_line(f"{_subject(user, me)} removed {whose} message of {clock}{where}")
        case mod.RoomRenamed(room=room, was=was):
            return notice_line(f"the room {was} is called {room} now")
        case mod.RoleChanged(room=room, user=user, role=role):
            return notice_line(f"{_are(user, me)} {role} of {room} now")
        case mod.RemovedFromRoom(room=room, by=by, reason=reason, banned=banned):
            how = "banned from" if banned else "sent out of"
            return notice_line(f"you were {how} {room}{_by(by)}{because(reason)}")
        case mod.Invited(room=room):
            return notice_line(f"you may enter {room} now: /join {room}")
        case mod.Muted(room=room, by=by, reason=reason, until=until):
            if not shown.is_new(_epoch(room, conversation), event):
                return None
            end = "" if until is None else f" until {when(moment(until))}"
            return notice_line(f"you may not speak in {room}{end}{_by(by)}{because(reason)}")
        case mod.Unmuted(room=room):
            shown.may_speak(_epoch(room, conversation))
            return notice_line(f"you may speak in {room} again")
        case m.System(text=text):
            return notice_line(text)
        case m.UnknownEvent(action=action, data=data):
            return notice_line(f"{action}: {dict(data)}")
    return None


def _epoch(room: str, conversation: Conversation) -> str:
    """Return what a room is known by whatever it is called."""
    state = conversation.client.state.rooms.get(room)
    return room if state is None else state.summary.epoch


def _subject(user: str, me: str) -> str:
    return "you have" if user == me else f"{user} has"


def _are(user: str, me: str) -> str:
    return "you are" if user == me else f"{user} is"


def _by(user: str) -> str:
    return f", by {user}" if user else ""


def _message_line(said: m.ReceiveMessage, timestamp: int, conversation: Conversation) -> Line:
    pieces = [(Style.TIME, f"{local_time(timestamp):%H:%M:%S} ")]
    if said.room != conversation.current:
        pieces.append((Style.ROOM, f"[{visible(said.room)}] "))
    pieces += [(Style.NAME, visible(said.user)), (Style.TEXT, f": {body(said)}")]
    return Line(tuple(pieces))


def body(said: m.ReceiveMessage) -> str:
    """Return what was said in one safe line; of bytes, their number and the first few."""
    if said.deleted:
        return REMOVED
    if said.binary is None:
        return visible(said.text or "")
    rest = "…" if len(said.binary) > SHOWN_BYTES else ""
    return f"<{len(said.binary)} bytes: {said.binary[:SHOWN_BYTES].hex(' ')}{rest}>"


def local_time(timestamp: int) -> datetime:
    """Return a time of the server's in the zone of whoever looks."""
    return to_datetime(timestamp).astimezone()
