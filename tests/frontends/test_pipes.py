"""``chat``, ``send`` and ``tail`` in pipes, beside clients that are not chatkit's."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
from at_work import Running, ServerProcess, chatkit, run, running, serving

import chatkit as library
from chatkit.frontends.exits import Exit
from chatkit.protocol.messages import JoinRoom


@asynccontextmanager
async def talking(url: str, user: str) -> AsyncIterator[Running]:
    """Run ``chatkit chat`` beside the test, from when it is in the room."""
    async with chatkit("chat", url, "--user", user) as process:
        await process.type("/users")
        await process.until("in general (")
        yield process


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with serving(tmp_path) as process:
        yield process


async def test_each_line_is_sent_and_shown_once(server: ServerProcess) -> None:
    talked = await run("chat", server.ws, "--user", "ann", said="one\n\n//two\n/binary abc\n/users\nthree")
    assert talked.returncode == 0
    assert talked.stderr == ""
    assert [line.partition(" ")[2] for line in talked.stdout.splitlines()] == [
        "ann: one",
        "ann: /two",
        "ann: <3 bytes: 61 62 63>",
        "in general (1): ann",
        "ann: three",
    ]


async def test_what_is_refused_is_said_and_the_rest_goes_on(server: ServerProcess) -> None:
    said = "/jion x\n/join nowhere\n/leave\n \n/create general\n/username b b\n/join\nfine\n"
    talked = await run("chat", server.tcp, "--user", "ann", said=said)
    assert talked.returncode == Exit.REFUSED
    assert talked.stdout.endswith("ann: fine\n")
    unknown, nowhere, leave, exists, name, argument = talked.stderr.splitlines()
    assert unknown == "! there is no command /jion: did you mean /join?"
    assert "nowhere" in nowhere
    assert "general is where everybody starts" in leave
    assert "general" in exists
    assert "space" in name
    assert "/join ROOM" in argument


async def test_json_lines_hold_everything_that_happens(server: ServerProcess) -> None:
    talked = await run("chat", server.ws, "-u", "ann", "--json", said="hi\n/nope\n/create tea\nin tea\n/username eve\n")
    lines = [json.loads(line) for line in talked.stdout.splitlines()]
    assert all(line.keys() == {"action", "data", "timestamp"} for line in lines)
    assert [line["data"]["text"] for line in lines if line["action"] == "receive_message"] == ["hi", "in tea"]
    assert [line["data"]["code"] for line in lines if line["action"] == "error"] == ["usage"]
    assert "system" in {line["action"] for line in lines}
    assert talked.returncode == Exit.REFUSED


async def test_rooms(server: ServerProcess) -> None:
    async with talking(server.ws, "ann") as ann, talking(server.tcp, "bob") as bob:
        await ann.until("bob has joined general (2)")
        await ann.type("/rooms")
        assert await ann.until("general (") == "* > general (2)"
        await ann.type("/create tea")
        await ann.until("you have created tea")
        await bob.until("there is a new room: tea")
        await bob.type("/join tea")
        await bob.until("you are in tea (2)")
        assert await ann.until("joined tea") == "* bob has joined tea (2)"
        await bob.type("only here")
        assert (await ann.until("only here")).endswith("bob: only here")
        await bob.type("/leave")
        await bob.until("you have left tea and are back in general")
        assert await ann.until("left tea") == "* bob has left tea (1)"
        await bob.type("in general")
        assert (await ann.until("in general")).endswith("[general] bob: in general")
        await bob.type("/quit")
        assert await bob.wait() == 0


async def test_send_and_tail(server: ServerProcess) -> None:
    sent = await run("send", server.ws, "one thing", "--user", "ann")
    assert (sent.returncode, sent.stdout) == (0, "")
    kept = json.loads((await run("send", server.tcp, "-", "-u", "ann", "--json", said="from a pipe\n")).stdout)
    assert kept["data"]["text"] == "from a pipe"
    followed = await run("tail", server.ws, "--user", "bob", "--count", "2", "--json")
    assert [json.loads(line)["data"]["seq"] for line in followed.stdout.splitlines()] == [1, 2]
    assert json.loads(followed.stdout.splitlines()[1]) == kept
    async with (
        talking(server.ws, "ann") as ann,
        chatkit("tail", server.tcp, "--user", "bob", "--history", "0", "--count", "1") as tail,
    ):
        await ann.until("bob has joined")
        await ann.type("live")
        assert (await tail.line()).endswith("ann: live")
        assert await tail.wait() == 0


async def test_four_kinds_of_client_in_one_room(server: ServerProcess, require_tool: Callable[..., None]) -> None:
    require_tool("nc")
    where = urlsplit(server.tcp)
    login = json.dumps({"action": "login", "ref": 1, "data": {"user": "netcat"}})
    foreign = json.dumps({"action": "login", "ref": 1, "data": {"user": "foreign"}})
    async with (
        talking(server.ws, "ann") as ann,
        talking(server.tcp, "bob") as bob,
        running("nc", str(where.hostname), str(where.port)) as netcat,
        running(sys.executable, "-m", "websockets", server.ws) as websockets,
    ):
        await netcat.until('"action":"hello"')
        await netcat.type(login)
        await netcat.until('"action":"success"')
        await websockets.type(foreign)
        await websockets.until('"action":"success"')
        everybody = (ann, bob, netcat, websockets)
        for speaker, text in ((ann, "from ws"), (bob, "from tcp")):
            await speaker.type(text)
            for listener in everybody:
                await listener.until(text)
        for speaker, text in ((netcat, "by hand"), (websockets, "by another library")):
            await speaker.type(json.dumps({"action": "send_message", "data": {"room": "general", "text": text}}))
            for listener in everybody:
                await listener.until(text)
        await netcat.type("this is no JSON")
        await netcat.until("bad_request")
        netcat.kill()
        with trio.fail_after(4):
            await ann.until("netcat has left general")
        bob.kill()
        with trio.fail_after(4):
            await ann.until("bob has left general")


async def test_every_refusal_to_begin_has_its_sentence_and_code(server: ServerProcess) -> None:
    async with talking(server.ws, "ann"):
        for arguments, code, sentence in (
            ([server.ws, "--user", "Ann"], Exit.REFUSED, "name_taken"),
            ([server.ws, "--user", "a b"], Exit.REFUSED, "bad_name"),
            ([server.ws, "--user", "bob", "--room", "nowhere"], Exit.REFUSED, "no_such_room"),
            (["ws://127.0.0.1:1", "--user", "ann"], Exit.NO_LINK, "; is the server running? chatkit serve starts one"),
            ([server.tcp.replace("tcp", "ws"), "--user", "bob"], Exit.NO_LINK, "chatkit: "),
        ):
            ended = await run("chat", *arguments)
            assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
            assert sentence in ended.stderr
            assert ended.stderr.count("\n") == 1


async def test_a_lost_connection_is_told_and_ends_it(server: ServerProcess) -> None:
    async with running(
        "sh", "-c", 'exec "$@" 2>&1', "sh", sys.executable, "-m", "chatkit", "chat", server.ws, "--user", "ann"
    ) as ann:
        await ann.type("here")
        await ann.until("ann: here")
        server.process.kill()
        assert (await ann.line()).startswith("chatkit: connection lost: ")
        assert await ann.wait() == Exit.LINK_LOST


async def test_it_comes_back_if_it_is_to(tmp_path: Path) -> None:
    async with serving(tmp_path) as first:
        command = ("chat", first.ws, "--user", "ann", "--reconnect", "--json")
        async with chatkit(*command) as ann:
            await ann.type("here")
            await ann.until('"text":"here"')
            first.process.kill()
            await ann.until("connection_lost")
            await ann.type("said while it was away")
            async with serving(tmp_path, listen=(first.ws, first.tcp)) as second:
                await ann.until("connected again")
                await ann.until('"text":"said while it was away"')
                followed = await run("tail", second.tcp, "--user", "bob", "--count", "2")
    assert [line.partition(" ")[2] for line in followed.stdout.splitlines()] == [
        "ann: here",
        "ann: said while it was away",
    ]


async def test_a_link_lost_on_the_way_into_the_room_is_told_too() -> None:
    door, entering = library.Extension(), trio.Event()

    @door.before(JoinRoom)
    async def hold(request: JoinRoom, context: library.RequestContext) -> JoinRoom:
        entering.set()
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async with AsyncExitStack() as stack:
        async with library.open_server("memory://", listen=["ws://127.0.0.1:0"], extensions=[door]) as server:
            url = server.addresses[0]
            ann = await stack.enter_async_context(chatkit("chat", url, "--user", "ann", "--reconnect", "--json"))
            await entering.wait()
        await ann.until("connection_lost")
        async with library.open_server("memory://", listen=[url]):
            await ann.until("connected again")
            await ann.type("here")
            await ann.until('"text":"here"')


async def test_whoever_reads_may_go_away(server: ServerProcess) -> None:
    await run("chat", server.ws, "--user", "ann", said="one\ntwo\nthree\n")
    async with chatkit("tail", server.ws, "--user", "bob", stderr=-1) as tail:
        assert (await tail.line()).endswith("one")
        assert tail.process.stdout is not None
        await tail.process.stdout.aclose()
        while tail.process.returncode is None:
            await run("send", server.ws, "more", "--user", "ann")
        assert tail.process.returncode == Exit.BROKEN_PIPE
        assert tail.process.stderr is not None
        assert await tail.process.stderr.receive_some() == b""
        await tail.process.stderr.aclose()
