"""Frames as they come in: however the bytes are cut they mean the same, and whatever they are nothing is raised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from chatkit.transport.frames import masked_frame, xored
from chatkit.transport.inbound import QUEUED_MESSAGES, Inbound, Message
from chatkit.transport.interface import TransportOptions

OPTIONS = TransportOptions(max_message_bytes=70_000)
TEXTS = st.sampled_from(
    [b"", b"x", b"{}" * 60, b"y" * 125, b"y" * 126, "ü€😀".encode() * 30, b"z" * 65_535, b"z" * 65_536]
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bool, list[bytes], list[Message], list[bytes]]:
    """Frames of one peer, the messages and the pings they are."""
    masked = draw(st.booleans())
    frames: list[bytes] = []
    said: list[Message] = []
    pings: list[bytes] = []

    def add(opcode: int, payload: bytes, fin: bool = True) -> None:
        frames.append(Frame(Opcode(opcode), payload, fin).serialize(mask=masked))

    for _ in range(draw(st.integers(1, 6))):
        payload, opcode = draw(TEXTS), draw(st.sampled_from([1, 2]))
        cuts = sorted(draw(st.sets(st.integers(0, len(payload)), max_size=3)))
        pieces = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for number, piece in enumerate(pieces):
            add(opcode if not number else 0, piece, number == len(pieces) - 1)
            if draw(st.booleans()):
                pings.append(b"%d" % len(pings))
                add(9, pings[-1])
        said.append((opcode, payload))
    return masked, frames, said, pings


def fed(inbound: Inbound, wire: bytes, cuts: list[int]) -> tuple[list[Message], list[bytes]]:
    said: list[Message] = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        inbound.feed(wire[start:end], 0.0)
        while inbound.messages:
            said.append(inbound.take())
            inbound.go_on()
    return said, inbound.pings


@given(conversations(), st.data())
def test_any_chunks(conversation: tuple[bool, list[bytes], list[Message], list[bytes]], data: st.DataObject) -> None:
    masked, frames, said, pings = conversation
    wire = b"".join(frames)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=20)))
    inbound = Inbound(OPTIONS, masked)
    assert fed(inbound, wire, cuts) == (said, pings)
    assert (inbound.fault, inbound.closed, inbound.waiting_bytes, inbound.backlog) == (None, None, 0, False)


@given(conversations(), st.data())
def test_mutated_bytes_mean_the_same_however_they_are_cut(
    conversation: tuple[bool, list[bytes], list[Message], list[bytes]], data: st.DataObject
) -> None:
    masked, frames, _, _ = conversation
    wire = bytearray(b"".join(frames)[:5_000])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(wire) - 1)))
        wire[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=20)))
    whole, cut = Inbound(OPTIONS, masked), Inbound(OPTIONS, masked)
    assert fed(whole, bytes(wire), []) == fed(cut, bytes(wire), cuts)
    assert (whole.fault, whole.closed) == (cut.fault, cut.closed)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masks(payload: bytes, key: bytes) -> None:
    assert xored(payload, key) == bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def test_only_so_much_is_taken_apart_ahead() -> None:
    inbound = Inbound(OPTIONS, True)
    inbound.feed(masked_frame(1, b"x") * (QUEUED_MESSAGES + 10) + masked_frame(8, b"\x03\xe8bye"), 0.0)
    assert (len(inbound.messages), inbound.backlog, inbound.over) == (QUEUED_MESSAGES, True, False)
    for _ in range(QUEUED_MESSAGES):
        assert inbound.take() == (1, b"x")
    inbound.go_on()
    assert (len(inbound.messages), inbound.backlog, inbound.closed) == (10, False, (1000, "bye"))


@pytest.mark.parametrize(
    "behind", [b"\xff" * 50, masked_frame(1, b"x"), masked_frame(9, b"x")], ids=["noise", "a message", "a ping"]
)
def test_nothing_behind_a_close_is_looked_at(behind: bytes) -> None:
    inbound = Inbound(OPTIONS, True)
    inbound.feed(masked_frame(8, b"") + behind, 0.0)
    inbound.feed(behind, 0.0)
    assert (inbound.closed, inbound.fault, inbound.messages, inbound.pings) == ((1005, ""), None, [], [])
