"""Values that have broken decoders, in every field of every action, over real links: each is answered, and nothing is
kept that somebody else cannot receive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count

import attrs
import msgpack
import pytest
from neighbours import LISTEN, Contexts
from raw import Member, member
from wire_frames import BINARY, TEXT, frame

import chatkit
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.vocabulary import STANDARD
from chatkit.server import ServerConfig, open_server

VALUES: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "zero": b"0",
    "minus zero": b"-0",
    "one": b"1",
    "minus one": b"-1",
    "float": b"1.0",
    "exponent": b"1e2",
    "2**53": b"9007199254740992",
    "2**63": b"9223372036854775808",
    "2**64": b"18446744073709551616",
    "-2**63 - 1": b"-9223372036854775809",
    "huge": b"1" * 400,
    "huge float": b"1e999",
    "tiny float": b"1e-999",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "empty": b'""',
    "blank": b'" \\t\\n"',
    "NUL": b'"\\u0000"',
    "escape": b'"\\u001b]0;x\\u0007\\u001b[2J"',
    "C1": b'"\\u009b2J"',
    "bidi": b'"\\u202eabc"',
    "line separators": b'"\\u2028\\u2029\\u0085"',
    "high surrogate": b'"\\ud800"',
    "low surrogate": b'"x\\udfffx"',
    "swapped surrogates": b'"\\udc00\\ud800"',
    "a pair": b'"\\ud83d\\ude00"',
    "noncharacters": b'"\\ufffe\\uffff"',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "overlong": b'"\xc0\xaf"',
    "Latin-1": b'"caf\xe9"',
    "past Unicode": b'"\xf4\x90\x80\x80"',
    "raw control": b'"\x01"',
    "bad escape": b'"\\x41"',
    "long": b'"' + b"x" * 60_000 + b'"',
    "long, wide": b'"' + "😀".encode() * 15_000 + b'"',
    "combining": b'"' + "á̂̃".encode() * 8 + b'"',
    "look-alike": '"\u0430nn"'.encode(),
    "full width": '"\uff41\uff4e\uff4e"'.encode(),
    "ligature": '"\ufb01"'.encode(),
    "base64": b'"eA=="',
    "base64 unpadded": b'"eA"',
    "base64 url": b'"_-8="',
    "list": b"[]",
    "list of text": b'["x"]',
    "list of lists": b"[[[[1]]]]",
    "object": b"{}",
    "object of objects": b'{"a":{"epoch":"e","seq":1}}',
    "object of nonsense": b'{"a":{"epoch":1,"seq":"x"}}',
    "class": b'{"__class__":"os.system"}',
    "deep lists": b"[" * 5_000 + b"]" * 5_000,
    "deep objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "key twice": b'{"a":1,"a":2}',
    "many keys": b"{" + b",".join(b'"k%d":1' % number for number in range(4_000)) + b"}",
    "many items": b"[" + b",".join([b"1"] * 20_000) + b"]",
    "open list": b"[",
    "comma": b"1,",
    "comment": b"1/**/",
    "hexadecimal": b"0x1",
    "leading zero": b"01",
    "single quotes": b"'x'",
    "date": b'"2026-11-20T10:30:00Z"',
    "a time past all": b'"9999-12-31T23:59:60Z"',
}
ENVELOPES: tuple[bytes, ...] = (
    b'{"action":%s,"data":{}}',
    b'{"action":"list_rooms","ref":%s,"data":{}}',
    b'{"action":"list_rooms","data":%s}',
    b'{"action":"list_rooms","timestamp":%s,"data":{}}',
    b'{"action":"list_rooms","data":{"unknown":%s}}',
    b"%s",
)
GOOD = {"room": b'"general"', "text": b'"x"'}
KNOWN = {*map(str, ErrorCode)}
ops = count(1)


def cases() -> Iterator[bytes]:
    """Give every message: each value in each field of each action, the fields that must be there good otherwise."""
    for template in ENVELOPES:
        for value in VALUES.values():
            yield template % value
    for action, cls in STANDARD.requests.items():
        names = [attribute.name for attribute in attrs.fields(cls)]  # type: ignore[arg-type]
        for name in names or ["unknown"]:
            for value in VALUES.values():
                fields = {other: good for other, good in GOOD.items() if other in names}
                fields |= {"op": b'"op-%d"' % next(ops)} if "op" in names else {}
                fields |= {name: value}
                if name == "binary":
                    fields.pop("text")
                data = b",".join(b'"%s":%s' % (key.encode(), given) for key, given in fields.items())
                yield b'{"action":"%s","data":{%s}}' % (action.encode(), data)


def test_there_are_enough() -> None:
    assert len(VALUES) >= 60
    assert len(list(cases())) >= 60 * (len(STANDARD.requests) + len(ENVELOPES))


async def say(here: Member, message: bytes) -> None:
    if here.lines:
        await here.raw.send(message.replace(b"\n", b" ") + b"\n")
    else:
        await here.raw.send(frame(TEXT, message))


def is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("kind", ["ws", "tcp", "wss", "tls"])
async def test_every_value_in_every_field(kind: str, contexts: Contexts, capsys: pytest.CaptureFixture[str]) -> None:
    config = ServerConfig(rate_limits=False, ssl_context=contexts.server, garbage=10_000, max_message_bytes=70_000)
    outcomes: Counter[str] = Counter()
    async with open_server("memory://", listen=LISTEN, config=config) as server:
        url = server.addresses[("ws", "tcp", "wss", "tls").index(kind)]
        async with member(url, contexts.client, "eve") as eve, server.connect(user="watcher") as watcher:
            for message in cases():
                if kind in ("ws", "wss") and not is_utf8(message):
                    continue  # that ends a WebSocket, as RFC 6455 has it
                if b"\n" in message or not message.strip():
                    continue
                await say(eve, message)
                reply = await eve.reply()
                outcomes[reply["data"]["code"] if reply["action"] == "error" else "success"] += 1
                if reply["action"] == "error":
                    assert reply["data"]["code"] in KNOWN, reply
                    assert len(reply["data"]["message"]) < 500, message[:100]
                    assert reply["data"]["message"].isprintable(), message[:100]
                    assert reply["data"]["code"] != "internal_error", message[:100]
                elif b'"leave_room"' in message or b'"delete_room"' in message:
                    await eve.ask("create_room", room="general")
                    await eve.ask("join_room", room="general")
            rooms = list(watcher.state.rooms)
        assert outcomes["success"] > 100
        assert outcomes["bad_request"] > 1_000
        await read_everything(server.addresses[0], rooms)
    with capsys.disabled():
        print(f"\n{kind}: {outcomes.total()} messages: {dict(outcomes.most_common())}")


LOGIN_FIELDS = [attribute.name for attribute in attrs.fields(STANDARD.requests["login"])]  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["ws", "tcp"])
async def test_every_value_in_every_field_of_a_login(kind: str, contexts: Contexts) -> None:
    """By strangers, who stay strangers unless it is a good login."""
    config = ServerConfig(rate_limits=False, ssl_context=contexts.server, garbage=10_000, max_message_bytes=70_000)
    outcomes: Counter[str] = Counter()
    async with open_server("memory://", listen=LISTEN, config=config) as server:
        url = server.addresses[kind == "tcp"]
        for name in LOGIN_FIELDS:
            for value in VALUES.values():
                if kind == "ws" and not is_utf8(value):
                    continue
                async with member(url) as eve:
                    assert (await eve.ask("list_rooms"))["data"]["code"] == "not_logged_in"  # a first line is an object
                    user = b"" if name == "user" else b'"user":"eve%d",' % next(ops)
                    await say(eve, b'{"action":"login","ref":1,"data":{%s"%s":%s}}' % (user, name.encode(), value))
                    reply = await eve.reply()
                    known = reply["action"] == "success"
                    outcomes["success" if known else reply["data"]["code"]] += 1
                    assert known or reply["data"]["code"] in KNOWN - {"internal_error"}, (name, value[:50], reply)
                    after = await eve.ask("list_rooms")
                    assert (after["action"] == "success") is known, (name, value[:50])
    assert set(LOGIN_FIELDS) == {"user", "password", "token", "resume", "device", "attempt"}
    assert outcomes["bad_request"] > 100
    assert outcomes["success"] > 5


async def read_everything(url: str, rooms: list[str]) -> None:
    """Both encodings give all that was kept, and it can be encoded again."""
    found: dict[str, list[object]] = {}
    for encoding in ("json", "msgpack"):
        async with chatkit.connect(url, user=f"reader-{encoding}", encoding=encoding) as reader:  # type: ignore[arg-type]
            for room in rooms:
                handle = await reader.join(room)
                page = await handle.history(after=0, limit=1_000)
                found.setdefault(room, []).append(page.events)
    for pages in found.values():
        assert pages[0] == pages[1], "the two encodings differ"


PACKED: dict[str, bytes] = {
    "never used": b"\xc1",
    "NaN": b"\xcb\x7f\xf8\0\0\0\0\0\0",
    "infinity": b"\xcb\x7f\xf0\0\0\0\0\0\0",
    "float": b"\xca\x3f\x80\0\0",
    "2**64 - 1": b"\xcf" + b"\xff" * 8,
    "-2**63": b"\xd3\x80" + bytes(7),
    "bytes": b"\xc4\x01x",
    "bad UTF-8": b"\xa2\xff\xfe",
    "surrogate": b"\xa3\xed\xa0\x80",
    "extension": b"\xd4\x05x",
    "time": b"\xd6\xff\0\0\0\0",
    "2**32 items": b"\xdd\xff\xff\xff\xff",
    "2**32 entries": b"\xdf\xff\xff\xff\xff",
    "2**32 bytes": b"\xc6\xff\xff\xff\xff",
    "2**32 characters": b"\xdb\xff\xff\xff\xff",
    "deep": b"\x91" * 5_000 + b"\x01",
    "key a number": b"\x81\x01\x01",
    "key a list": b"\x81\x90\x01",
    "key bytes": b"\x81\xc4\x01x\x01",
    "key twice": b"\x82\xa1a\x01\xa1a\x02",
    "nothing": b"\xc0",
    "cut": b"\xa5x",
}


async def test_every_value_in_every_field_of_messagepack(contexts: Contexts) -> None:
    config = ServerConfig(rate_limits=False, ssl_context=contexts.server, garbage=10_000)
    async with open_server("memory://", listen=LISTEN, config=config) as server:
        async with chatkit.connect(server.addresses[0], user="eve", encoding="msgpack") as eve:
            link = eve._asking.link
            assert link is not None
            answered: Counter[str] = Counter()
            take = link._take

            def note(raw: bytes) -> None:
                envelope = msgpack.unpackb(raw)
                answered[envelope["data"].get("code", "success") if "ref" not in envelope else "own"] += 1
                take(raw)

            link._take = note  # type: ignore[method-assign]
            sent = 0
            for action, cls in STANDARD.requests.items():
                for name in [attribute.name for attribute in attrs.fields(cls)] or ["unknown"]:  # type: ignore[arg-type]
                    for value in PACKED.values():
                        if action in ("login", "leave_room", "delete_room"):
                            continue
                        data = b"\x81" + msgpack.packb(name) + value
                        raw = b"\x82\xa6action" + msgpack.packb(action) + b"\xa4data" + data
                        await link.connection.send(raw)
                        sent += 1
                        if sent % 100 == 0:
                            await eve.rooms["general"].history()
            await eve.rooms["general"].history()
            assert answered["bad_request"] > sent / 2
            assert not answered["internal_error"]
        await read_everything(server.addresses[0], ["general"])


@pytest.mark.parametrize("kind", ["ws", "tcp"])
async def test_the_twentieth_in_a_row_ends_the_link_and_no_fewer_do(kind: str, contexts: Contexts) -> None:
    config = ServerConfig(ssl_context=contexts.server)
    async with open_server("memory://", listen=LISTEN, config=config) as server:
        url = server.addresses[kind == "tcp"]
        async with member(url, user="eve") as eve:
            for _ in range(3):
                for _ in range(19):
                    await say(eve, b'{"action":1}')
                    assert (await eve.reply())["data"]["code"] == "bad_request"
                assert (await eve.ask("list_rooms"))["action"] == "success"
            for _ in range(20):
                await say(eve, b"garbage")
            assert await eve.code() == 4400
        if kind == "ws":
            async with member(url, user="eve2") as eve:
                for _ in range(20):
                    await eve.raw.send(frame(BINARY, b"x"))
                assert await eve.code() == 4400
