"""What a client shows of something said."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from chatkit.protocol import times
from chatkit.protocol.messages import Entry, ReceiveMessage
from chatkit.protocol.positions import Position


@frozen(kw_only=True)
class Message:
    """Something said in a room, and kept at ``seq`` of its log.

    Exactly one of ``text`` and ``binary`` is set. ``op`` is the sender's random mark, ``reply_to`` the seq of the
    message it answers. What was removed since is still there, ``deleted`` and with the empty text: its place in the log
    counts, and others may have answered it.
    """

    room: str
    epoch: str
    seq: int
    user: str
    text: str | None = None
    binary: bytes | None = None
    op: str | None = None
    reply_to: int | None = None
    deleted: bool = False
    timestamp: int
    """The server's time in milliseconds since 1970."""

    @property
    def time(self) -> datetime:
        """When the server took it in, as an aware `datetime` in UTC."""
        return times.to_datetime(self.timestamp)

    @property
    def position(self) -> Position:
        """Where it stands in the log."""
        return Position(self.epoch, self.seq)

    @classmethod
    def of(cls, entry: Entry, epoch: str, room: str | None = None) -> Message | None:
        """Return the message an entry of the log holds; None for an entry of another kind. ``room`` is what the room is
        called by now, if that may be something else."""
        said = entry.event
        if not isinstance(said, ReceiveMessage):
            return None
        return cls(
            room=said.room if room is None else room,
            epoch=epoch,
            seq=said.seq,
            user=said.user,
            text="" if said.deleted else said.text,
            binary=None if said.deleted else said.binary,
            op=said.op,
            reply_to=said.reply_to,
            deleted=bool(said.deleted),
            timestamp=entry.timestamp,
        )


@frozen(kw_only=True)
class Pending:
    """Something of one's own that is on its way: shown at once, confirmed or refused later."""

    op: str
    text: str | None = None
    binary: bytes | None = None
    reply_to: int | None = None
    seq: int | None = None
    """Where it is kept, once the server said so and until the message itself arrives."""
