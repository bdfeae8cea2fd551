"""Actions of a program's own, and classes that cannot be one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Optional

import pytest
from attrs import define, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from chatkit.errors import ProtocolError, UsageError
from chatkit.protocol import (
    STANDARD,
    Between,
    Codec,
    Entry,
    Event,
    EventEnvelope,
    Nothing,
    Request,
    RequestEnvelope,
    SendMessage,
    Success,
    UnknownEvent,
    Vocabulary,
)
from chatkit.protocol.vocabulary import RESERVED
from chatkit.testing import strategies as draw

# Classes of messages stand at the top level: their annotations are resolved there.


@frozen(kw_only=True)
class Point:
    x: float
    y: Annotated[float, Between(-1, 1)] = 0.0


@frozen(kw_only=True)
class Counted:
    votes: Mapping[str, int]
    log: tuple[Entry, ...] = ()


@frozen(kw_only=True)
class Vote(Request[Counted]):
    """Everything a field may be."""

    action = "poll.vote"
    room: str
    choice: Literal["yes", "no", 3]
    weights: list[float]
    tags: Sequence[str]
    points: tuple[Point, ...] = ()
    notes: dict[str, list[Point]] | None = None
    blob: Optional[bytes] = None  # noqa: UP045
    extra: Any = None
    sure: bool = False
    grade: Annotated[int, Between(1, 6)] | None = None


@frozen(kw_only=True)
class Voted(Event):
    action = "poll.voted"
    room: str
    seq: int
    vote: Point | None = None


OWN = STANDARD.including(requests=[Vote], events=[Voted])


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@given(data=st.data(), ref=draw.refs(), timestamp=draw.timestamps())
def test_own_messages_travel_as_the_standard_ones(
    encoding: Literal["json", "msgpack"], data: st.DataObject, ref: int | str | None, timestamp: int
) -> None:
    codec = Codec(encoding, OWN)
    vote, voted = data.draw(draw.messages(Vote, OWN)), data.draw(draw.messages(Voted, OWN))
    counted = data.draw(draw.messages(Counted, OWN))
    assert codec.decode_request(codec.encode_request(vote, ref)) == RequestEnvelope(vote, ref)
    assert codec.decode(codec.encode_event(voted, timestamp)) == EventEnvelope(voted, timestamp)
    success = codec.decode(codec.encode_success(counted, ref, timestamp))
    assert isinstance(success, Success)
    assert codec.reply(success, Vote) == counted


def test_the_standard_ones_stay() -> None:
    assert STANDARD.requests.items() < OWN.requests.items()
    assert STANDARD.events.items() < OWN.events.items()
    assert "poll.vote" not in STANDARD.requests
    assert (OWN.requests["poll.vote"], OWN.events["poll.voted"]) == (Vote, Voted)


def test_who_does_not_know_them() -> None:
    raw = Codec("json", OWN).encode_event(Voted(room="general", seq=7), 0)
    assert Codec("json").decode(raw) == EventEnvelope(
        UnknownEvent(action="poll.voted", data={"room": "general", "seq": 7}), 0
    )
    vote = Vote(room="general", choice="yes", weights=[], tags=())
    with pytest.raises(ProtocolError, match=r"unknown action 'poll\.vote'"):
        Codec("json").decode_request(Codec("json", OWN).encode_request(vote))


# ── classes that cannot be one ───────────────────────────────────────────────────────────────────────────────────────


class NoAttrs(Request[Nothing]):
    action = "mine"


@frozen
class NoAction(Request[Nothing]):
    room: str


@frozen
class NoReply(Request):  # type: ignore[type-arg]
    action = "mine"


@frozen
class ReplyIsNoMessage(Request[int]):
    action = "mine"


@frozen
class Inherited(SendMessage):
    pass


@frozen
class NoBase:
    action = "mine"


@define
class Node:
    children: tuple[Node, ...] = ()


@frozen
class ReplyIsATree(Request[Node]):
    action = "mine"


@frozen
class HoldsEvents(Event):
    action = "mine"
    events: tuple[Entry, ...]


@frozen
class NotResolved(Event):
    action = "mine"
    when: Nowhere  # type: ignore[name-defined]  # noqa: F821


def request(action: Any) -> type[Request[Any]]:
    return type("Mine", (Vote,), {"action": action})


def holding(hint: Any) -> type[Event]:
    """An event with one field of this type."""
    namespace = {"action": "mine", "value": field(), "__annotations__": {"value": hint}, "__module__": __name__}
    return frozen(type("Mine", (Event,), namespace))


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (NoAttrs, "must be an attrs class"),
        (NoAction, "must have an 'action'"),
        (NoReply, "must name its reply"),
        (ReplyIsNoMessage, "must name its reply"),
        (Inherited, "'send_message' is taken"),
        (NoBase, "inherits Request"),
        (Voted, "inherits Request"),
        (Vote(room="x", choice="no", weights=[], tags=()), "inherits Request"),
        (ReplyIsATree, "holds Node inside itself"),
        (request("Mine"), "lower-case"),
        (request(""), "lower-case"),
        (request("9mine"), "lower-case"),
        (request("my action"), "lower-case"),
        (request("mine\n"), "lower-case"),
        (request("é"), "lower-case"),
        (request("m" * 65), "lower-case"),
        (request(5), "must have an 'action'"),
        (request("send_message"), "taken"),
        (request("receive_message"), "taken"),
        *[(request(action), "taken") for action in sorted(RESERVED)],
    ],
)
def test_what_cannot_be_a_request(cls: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        STANDARD.including(requests=[cls])


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Vote, "inherits Event"),
        (NoBase, "inherits Event"),
        (HoldsEvents, "cannot be part of a message"),
        (NotResolved, "Nowhere"),
        *[
            (holding(hint), "cannot be part of a message|has bounds")
            for hint in (
                set[int], frozenset[str], tuple[int, int], tuple[int], list, dict, tuple, dict[int, str],
                Mapping[bytes, int], datetime, object, complex, int | str, int | str | None, None, Event, type,
                Annotated[bytes, Between(1, 2)], Literal[b"x"], list[set[int]], dict[str, datetime],
            )
        ],
    ],
)  # fmt: skip
def test_what_cannot_be_an_event(cls: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        STANDARD.including(events=[cls])


def test_the_same_action_twice() -> None:
    with pytest.raises(UsageError, match="taken"):
        STANDARD.including(requests=[Vote, Vote])
    with pytest.raises(UsageError, match="taken"):
        OWN.including(requests=[Vote])
    with pytest.raises(UsageError, match="taken"):
        STANDARD.including(requests=[request("mine")], events=[holding(int)])


def test_reserved_actions_are_free_of_the_standard_ones() -> None:
    assert not RESERVED & (set(STANDARD.requests) | set(STANDARD.events))
    assert all(re.fullmatch(r"[a-z_]+", action) for action in {*STANDARD.requests, *STANDARD.events})


@pytest.mark.parametrize("depth", [50, 200, 300])
def test_a_vocabulary_made_by_hand_still_never_breaks_a_decoder(depth: int) -> None:
    class_ = frozen(type("Grown", (Event,), {"action": "grown", "__annotations__": {"root": Node}, "root": field()}))
    codec = Codec("json", Vocabulary(STANDARD.requests, {"grown": class_}))
    for leaf in ('{"children":1}', "{}"):
        root = '{"children":[' * depth + leaf + "]}" * depth
        raw = f'{{"action":"grown","timestamp":"2026-11-20T10:30:00Z","data":{{"root":{root}}}}}'
        try:
            assert isinstance(codec.decode(raw.encode()), EventEnvelope)
        except ProtocolError as error:
            assert str(error).startswith("data")  # noqa: PT017
