"""Hypothesis strategies for everything the protocol can carry, and for what it must withstand.

They follow the classes of a vocabulary, a program's own included: `requests`, `events` and `replies` draw messages,
`wire_requests` and `wire_server_messages` their bytes, `mutated` and `garbage` bytes that only look like them.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import attrs

from chatkit.errors import MissingExtra, ProtocolError
from chatkit.protocol.bounds import Between
from chatkit.protocol.codec import LONGEST_REF, Codec, EventEnvelope, Failure, Inbound, RequestEnvelope, Success
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.messages import Entry, Event, Request, UnknownEvent
from chatkit.protocol.names import check_name
from chatkit.protocol.positions import Position
from chatkit.protocol.times import LAST
from chatkit.protocol.vocabulary import STANDARD, Vocabulary

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError as error:
    raise MissingExtra("chatkit.testing.strategies", "testing") from error

__all__ = [
    "envelopes",
    "events",
    "garbage",
    "json_values",
    "messages",
    "mutated",
    "names",
    "positions",
    "refs",
    "replies",
    "requests",
    "server_messages",
    "texts",
    "timestamps",
    "wire_requests",
    "wire_server_messages",
]

M = TypeVar("M")
INTEGERS: Final = st.integers(-(2**63), 2**64 - 1)
"""What both encodings can carry."""


def texts(*, min_bytes: int = 0, max_bytes: int = 200) -> SearchStrategy[str]:
    """Draw any Unicode text (no lone surrogates) of so many bytes in UTF-8."""
    drawn = st.text(st.characters(exclude_categories=["Cs"]), min_size=min_bytes, max_size=max_bytes)
    return drawn.map(lambda text: text.encode()[:max_bytes].decode(errors="ignore") or "x" * min_bytes)


def names() -> SearchStrategy[str]:
    """Draw names of people and rooms, in the form they are shown."""
    plain = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", fullmatch=True)
    letters = st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd", "Mn"]), min_size=1, max_size=32)
    return st.one_of(plain, letters.filter(_is_name).map(check_name))


def positions() -> SearchStrategy[Position]:
    """Draw places in logs."""
    return st.builds(Position, epoch=texts(max_bytes=32), seq=st.integers(0, 2**53 - 1))


def timestamps() -> SearchStrategy[int]:
    """Draw milliseconds since 1970, as far as the wire can say them."""
    return st.integers(0, LAST)


def refs() -> SearchStrategy[int | str | None]:
    """Draw references of requests."""
    return st.one_of(st.none(), INTEGERS, texts(max_bytes=LONGEST_REF))


def json_values() -> SearchStrategy[Any]:
    """Draw values of free shape that both encodings can carry."""
    scalars = st.one_of(st.none(), st.booleans(), INTEGERS, st.floats(allow_nan=False, allow_infinity=False), texts())
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts(), inner, max_size=4)),
        max_leaves=8,
    )


def messages(cls: type[M], vocabulary: Vocabulary = STANDARD) -> SearchStrategy[M]:
    """Draw messages of one class: each field by its type, within its bounds; optional ones are sometimes absent."""
    if cls is Entry:
        drawn = st.builds(Entry, event=events(vocabulary), timestamp=timestamps())
        return typing.cast("SearchStrategy[M]", drawn)
    hints = typing.get_type_hints(cls, include_extras=True)
    attributes: tuple[attrs.Attribute[Any], ...] = attrs.fields(typing.cast(Any, cls))
    fields = {a.alias or a.name: _of(hints[a.name], vocabulary) for a in attributes if a.init}
    return st.builds(cls, **fields)


def requests(vocabulary: Vocabulary = STANDARD) -> SearchStrategy[Request[Any]]:
    """Draw requests of every action."""
    return st.sampled_from(list(vocabulary.requests.values())).flatmap(lambda cls: messages(cls, vocabulary))


def replies(vocabulary: Vocabulary = STANDARD) -> SearchStrategy[tuple[type[Request[Any]], Any]]:
    """Draw ``(request class, what answers it)``."""
    return st.sampled_from(list(vocabulary.requests.values())).flatmap(
        lambda cls: st.tuples(st.just(cls), messages(cls.reply, vocabulary))
    )


def events(vocabulary: Vocabulary = STANDARD) -> SearchStrategy[Event]:
    """Draw events of every action, and of actions that the vocabulary does not have."""
    known = st.sampled_from(list(vocabulary.events.values())).flatmap(lambda cls: messages(cls, vocabulary))
    taken = {"success", "error", *vocabulary.events}
    unknown = st.builds(
        UnknownEvent,
        action=texts().filter(lambda action: action not in taken),
        data=st.dictionaries(texts(max_bytes=20), json_values(), max_size=4),
    )
    return st.one_of(known, known, known, unknown)


def envelopes(vocabulary: Vocabulary = STANDARD) -> SearchStrategy[RequestEnvelope]:
    """Draw requests with their refs."""
    return st.builds(RequestEnvelope, requests(vocabulary), refs())


def server_messages(vocabulary: Vocabulary = STANDARD) -> SearchStrategy[Inbound]:
    """Draw what a server sends: events, failures, and successes with the data of every reply."""
    fields_of = Codec("json", vocabulary).fields_of
    return st.one_of(
        st.builds(EventEnvelope, events(vocabulary), timestamps()),
        st.builds(
            Failure,
            ref=refs(),
            code=st.one_of(st.sampled_from([code.value for code in ErrorCode]), texts(max_bytes=20)),
            message=texts(),
            retry_after=st.one_of(st.none(), st.floats(0, 2**31)),
            timestamp=timestamps(),
        ),
        st.builds(
            Success, ref=refs(), data=replies(vocabulary).map(lambda pair: fields_of(pair[1])), timestamp=timestamps()
        ),
    )


def wire_requests(codec: Codec) -> SearchStrategy[bytes]:
    """Draw the bytes of requests."""
    return envelopes(codec.vocabulary).map(lambda envelope: codec.encode_request(envelope.request, envelope.ref))


def wire_server_messages(codec: Codec) -> SearchStrategy[bytes]:
    """Draw the bytes of events, failures and successes."""
    event = st.builds(codec.encode_event, events(codec.vocabulary), timestamps())
    success = st.builds(
        lambda pair, ref, timestamp: codec.encode_success(pair[1], ref, timestamp),
        replies(codec.vocabulary),
        refs(),
        timestamps(),
    )
    failure = st.builds(codec.encode_failure, st.sampled_from(list(ErrorCode)), texts(), refs(), timestamps())
    return st.one_of(event, success, failure)


def mutated(wire: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Draw bytes and damage them in one to four places: changed, cut out, doubled, put in, the end lost."""
    damage = st.tuples(
        st.sampled_from(["change", "cut", "double", "insert", "end"]),
        st.integers(0, 2**16),
        st.integers(1, 16),
        st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(SPITE)),
    )
    return st.builds(_damaged, wire, st.lists(damage, min_size=1, max_size=4))


def garbage() -> SearchStrategy[bytes]:
    """Draw bytes that nobody meant as a message: random, or pieces of JSON and MessagePack in any order."""
    return st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from(SPITE), max_size=12).map(b"".join),
        st.tuples(st.sampled_from([b"[", b'{"a":', b"\x91", b"\x81\xa1a"]), st.integers(1, 3000)).map(
            lambda drawn: drawn[0] * drawn[1]
        ),
    )


SPITE: Final = (
    b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b'\\ud800"', b"\\u0000", b"null", b"true", b"NaN", b"-Infinity",
    b"1e999", b"-0", b"1.0", b"18446744073709551616", b"9" * 400, b'"action"', b'"data"', b'"ref"', b'"timestamp"',
    b'"send_message"', b'"success"', b'"error"', b'"2026-11-20T10:30:00.123Z"', b'"9999-12-31T23:59:60-23:59"',
    b"\xed\xa0\x80", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\x00",
    b"\x80", b"\x81", b"\x91", b"\xa1", b"\xc0", b"\xc1", b"\xc4\x01x", b"\xca\x7f\xc0\x00\x00",
    b"\xcb\x7f\xf0" + b"\x00" * 6,
    b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\x00" * 7, b"\xd6\xff" + b"\x00" * 4, b"\xd4\x05x", b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff", b"\xa6action", b"\xa4data", b"\xa3ref",
)  # fmt: skip
"""Pieces that have broken decoders: of JSON, of MessagePack, of UTF-8."""


def _is_name(text: str) -> bool:
    try:
        check_name(text)
    except ProtocolError:
        return False
    return True


def _damaged(raw: bytes, damages: list[tuple[str, int, int, bytes]]) -> bytes:
    for how, where, length, piece in damages:
        at = where % (len(raw) + 1)
        match how:
            case "change":
                raw = raw[:at] + piece + raw[at + len(piece) :]
            case "cut":
                raw = raw[:at] + raw[at + length :]
            case "double":
                raw = raw[:at] + raw[at : at + length] + raw[at:]
            case "insert":
                raw = raw[:at] + piece + raw[at:]
            case _:
                raw = raw[:at]
    return raw


def _of(hint: Any, vocabulary: Vocabulary) -> SearchStrategy[Any]:
    """The strategy of a field's type, as `chatkit.protocol.shapes` allows it."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if origin is Annotated:
        return _bounded(args[0], args[1:], vocabulary)
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (list, tuple, Sequence):
        items = st.lists(_of(args[0], vocabulary), max_size=3)
        return items if origin is list else items.map(tuple)
    if origin in (dict, Mapping):
        return st.dictionaries(texts(max_bytes=20), _of(args[1], vocabulary), max_size=3)
    if NoneType in args:
        return st.one_of(st.none(), _of(args[args[0] is NoneType], vocabulary))
    return messages(hint, vocabulary)


def _bounded(kind: Any, notes: Sequence[Any], vocabulary: Vocabulary) -> SearchStrategy[Any]:
    for note in notes:
        if isinstance(note, Between):
            if kind is str:
                return texts(min_bytes=note.least, max_bytes=note.most)
            return st.floats(note.least, note.most) if kind is float else st.integers(note.least, note.most)
    return _of(kind, vocabulary)


_SCALARS: Final[dict[Any, SearchStrategy[Any]]] = {
    str: texts(),
    int: INTEGERS,
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bytes: st.binary(max_size=200),
    Any: json_values(),
}
