"""Memory, restarts, order, bounds and ends: what a bot does not forget, double or lose."""

from __future__ import annotations

import itertools
import random
import signal
import sqlite3
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from party import Party, answered, nobodys_port

import chatkit
from chatkit import Bot, Context, ServerConfig, open_server
from chatkit.bot import FileMemory, JobContext, Memory, RamMemory
from chatkit.bot.progress import Progress
from chatkit.errors import ConnectFailed, Disconnected, StorageUnavailable, UsageError
from chatkit.protocol.messages import ReceiveMessage, UserLeft
from chatkit.testing import Chat, FaultProxy, Plan, cancel_at_each_checkpoint, open_chat

# ── a store of its own ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["ram", "file"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Memory:
    return RamMemory() if request.param == "ram" else FileMemory(tmp_path / "bot.db")


async def test_shelves_by_bot_room_and_user(party: Party, memory: Memory) -> None:
    bot = Bot("b", rooms=["general", "tea"])

    @bot.command
    async def count(ctx: Context) -> None:
        shelves = (ctx.bot_memory, ctx.room_memory, ctx.user_memory)
        counts = [await shelf.update("count", lambda count: count + 1, 0) for shelf in shelves]
        await ctx.reply(" ".join(map(str, counts)))

    ann, bob = await party.people("ann", "bob")
    await ann.creates("tea")
    await bob.joins("tea")
    await party.run(bot, memory=memory)
    for person, room, counts in ((ann, "general", "1 1 1"), (bob, "general", "2 2 1"), (ann, "tea", "3 1 2")):
        await person.says("!count", room=room)
        await ann.hears(answered(counts), room=room)


async def test_a_shelf(memory: Memory) -> None:
    from chatkit.bot import Shelf

    shelf = Shelf(memory, "b", "bot", trio.Lock())
    assert await shelf.get("a", 7) == 7
    await shelf.set("a", {"ü": [1, None, "x"]})
    await shelf.set("b", 2)
    assert await shelf.items() == {"a": {"ü": [1, None, "x"]}, "b": 2}
    await shelf.delete("a")
    await shelf.delete("a")
    assert await shelf.get("a") is None
    assert await Shelf(memory, "other", "bot", trio.Lock()).items() == {}
    for value in (float("nan"), object()):
        with pytest.raises(UsageError, match="cannot be kept"):
            await shelf.set("c", value)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(shelf.update, "n", lambda n: n + 1, 0)
    assert await shelf.get("n") == 20
    progress = Progress("e", 3, [(5, 7)])
    await memory.save_progress("b", {"r": progress})
    assert await memory.progress("b") == {"r": progress}
    await memory.aclose()


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path / "bot.db")
    await memory.write("b", "self", "token", '"secret"')
    assert stat.S_IMODE((tmp_path / "bot.db").stat().st_mode) == 0o600
    await memory.aclose()
    await memory.aclose()
    assert sqlite3.connect(tmp_path / "bot.db").execute("SELECT count(*) FROM bot_memory").fetchone() == (1,)


def test_the_file_lies_beside_the_bot(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from chatkit import Bot\nbot = Bot('dice')\n")
    sys.path.insert(0, str(tmp_path))
    try:
        from mine import bot  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["mine"]
    assert bot.memory.path == tmp_path / "dice.bot.db"


# ── restarts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_missed_is_dealt_with(chat: Chat) -> None:
    bot = Bot("b")

    @bot.command
    async def ping(ctx: Context, number: int) -> None:
        await ctx.reply(f"pong {number}")

    ann = await chat.person("ann")
    await ann.says("!ping 0")  # before its first start: not its business
    run = await chat.run(bot)
    await ann.says("!ping 1")
    await ann.hears("pong 1")
    await run.stop()
    await ann.hears(UserLeft, user="b")
    await ann.says("!ping 2")
    await trio.sleep(60)
    run = await chat.run(bot)
    await ann.hears("pong 2")
    await run.stop()
    await ann.says("!ping 3")
    await trio.sleep(60)
    bot.max_age = 30.0
    await ann.says("!ping 4")
    await chat.run(bot)
    await ann.hears("pong 4")
    await ann.hears_nothing()


async def test_a_crash_between_reply_and_commit_posts_nothing_twice(chat: Chat) -> None:
    bot = Bot("b")
    random_ = random.Random(1)
    results: list[str] = []

    class Deaf(RamMemory):
        async def save_progress(self, bot: str, progress: object) -> None:
            if not await self.progress(bot):
                await super().save_progress(bot, progress)  # type: ignore[arg-type]

    @bot.command
    async def roll(ctx: Context) -> None:
        results.append((await ctx.reply(f"{random_.random()}")).text or "")
        results.append((await ctx.say("and again")).text or "")

    memory = Deaf()
    ann = await chat.person("ann")
    await ann.says("!roll")
    run = await chat.run(bot, memory=memory)
    await ann.says("!roll")
    first = (await ann.hears(ReceiveMessage, user="b")).text
    await ann.hears("and again")
    await ann.hears_nothing()  # by then the bot has its answer, too
    for _ in range(3):
        await run.crash()
        run = await chat.run(bot, memory=memory)
        await ann.hears_nothing(within=3)
    assert results == [first, "and again"] * 4  # the handler is given what was said, other dice or not


async def test_a_handler_that_fails_is_not_tried_again(chat: Chat) -> None:
    bot, runs = Bot("b"), list[int]()

    @bot.command
    async def fail(ctx: Context) -> None:
        runs.append(1)
        raise RuntimeError

    run = await chat.run(bot)
    ann = await chat.person("ann")
    await ann.says("!fail")
    await ann.hears("Sorry, something went wrong in fail.")
    await run.stop()
    await chat.run(bot)
    await ann.hears_nothing()
    assert runs == [1]


async def test_a_memory_that_fails_for_a_while_holds_up_nobody(chat: Chat) -> None:
    class Full(RamMemory):
        full = False

        async def save_progress(self, bot: str, progress: object) -> None:
            if self.full:
                raise StorageUnavailable("the disk is full")
            await super().save_progress(bot, progress)  # type: ignore[arg-type]

    bot, memory = Bot("b"), Full()

    @bot.command
    async def ping(ctx: Context) -> None:
        await ctx.reply("pong")

    run = await chat.run(bot, memory=memory)
    ann = await chat.person("ann")
    memory.full = True
    for _ in range(3):
        await ann.says("!ping")
        await ann.hears("pong")
    memory.full = False
    await trio.sleep(2)
    await run.crash()
    await chat.run(bot, memory=memory)
    await ann.hears_nothing()
    assert (await memory.progress("b"))["general"].seq == 6


# ── order and bounds ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_in_order_for_each_person_and_beside_one_another(chat: Chat) -> None:
    bot, log = Bot("b"), list[str]()

    @bot.command
    async def work(ctx: Context, seconds: float) -> None:
        log.append(f"{ctx.user} begins {seconds:g}")
        await trio.sleep(seconds)
        log.append(f"{ctx.user} ends {seconds:g}")

    await chat.run(bot)
    ann, bob = await chat.people("ann", "bob")
    await ann.says("!work 10")
    await ann.says("!work 1")
    await bob.says("!work 5")
    await trio.sleep(20)
    assert log == [
        "ann begins 10",
        "bob begins 5",
        "bob ends 5",
        "ann ends 10",
        "ann begins 1",
        "ann ends 1",
    ]


async def test_a_full_queue_holds_back_the_cursor(chat: Chat) -> None:
    bot, running = Bot("b", at_once=5), list[int]()

    @bot.command
    async def work(ctx: Context) -> None:
        running.append(ctx.message.seq)
        await trio.sleep(10)

    run = await chat.run(bot)
    ann = await chat.person("ann")
    people = await chat.people(*(f"p{number}" for number in range(4)))
    for _ in range(5):
        for person in people:
            await person.says("!work")
    await ann.says("!help")
    await trio.sleep(1)
    assert len(running) == 4
    assert sum(len(lane.queue) + 1 for lane in bot.running.lanes.values()) == 5
    await run.crash()
    await chat.run(bot)
    await ann.hears(ReceiveMessage, user="b", within=100)
    await trio.sleep(100)
    assert sorted(set(running)) == list(range(1, 21))


# ── several bots, embedding, broadcasts ──────────────────────────────────────────────────────────────────────────────


async def test_several_bots_beside_a_server_without_a_socket() -> None:
    bots = [Bot(f"bot{number}", prefix=f"{number}!", memory=RamMemory()) for number in range(3)]
    for bot in bots:

        @bot.command
        async def who(ctx: Context) -> None:
            await ctx.reply(ctx.bot.name)

    async with open_server("memory://", listen=[]) as server, trio.open_nursery() as nursery:
        for bot in bots:
            await nursery.start(bot.serve, server.connect)
        with pytest.raises(UsageError, match="running already"):
            await bots[0].serve(server.connect)
        async with server.connect(user="ann") as ann:
            room = ann.rooms["general"]
            for number in range(3):
                await room.send(f"{number}!who")
            answers = set()
            async for message in room.messages():
                answers |= {message.text} if message.user != "ann" else set()
                if len(answers) == 3:
                    break
        for bot in bots:
            bot.stop()
    assert answers == {"bot0", "bot1", "bot2"}
    assert not any(bot.is_running for bot in bots)


async def test_a_broadcast_with_progress_at_the_servers_pace(chat: Chat) -> None:
    bot, progress = Bot("b", rooms=["general", *(f"r{number}" for number in range(40))]), list[tuple[int, int]]()

    @bot.command
    async def tell(ctx: Context, *, text: str) -> None:
        result = await ctx.broadcast(text, on_progress=lambda done, of: progress.append((done, of)))
        await ctx.reply(f"{len(result.sent)} sent, {len(result.failed)} failed")

    @bot.command
    async def flood(ctx: Context) -> None:
        for number in range(200):
            await ctx.say(f"{number}")
        await ctx.reply("flooded")

    ann = await chat.person("ann")
    for number in range(40):
        await ann.creates(f"r{number}")
        await trio.sleep(1)
    await chat.run(bot)
    await ann.says("!tell news")
    await ann.hears(answered("41 sent, 0 failed"), within=100)
    assert progress == [(number, 41) for number in range(1, 42)]
    await ann.says("!flood")
    await ann.hears(answered("flooded"), within=1000)
    assert [ann.transcript().count(f"b: '{number}'\n") for number in range(200)] == [1] * 200


async def test_a_room_that_is_not_there_yet_is_joined_when_it_is(chat: Chat) -> None:
    bot = Bot("b", rooms=["tea"])

    @bot.command
    async def ping(ctx: Context) -> None:
        await ctx.reply("pong")

    await chat.run(bot)
    ann = await chat.person("ann")
    for _ in range(2):
        await ann.creates("tea")
        await trio.sleep(1)
        await ann.says("!ping", room="tea")
        await ann.hears("pong", room="tea")
        await ann.room("tea").delete()
        await trio.sleep(1)


# ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_graceful_stop_lets_handlers_end_within_a_deadline(chat: Chat) -> None:
    bot = Bot("b", stop_timeout=10, deadline=1000)

    @bot.command
    async def work(ctx: Context, seconds: float) -> None:
        await trio.sleep(seconds)
        await ctx.say(f"{ctx.user} worked {seconds:g}")

    run = await chat.run(bot)
    ann, bob = await chat.people("ann", "bob")
    await ann.says("!work 5")
    await bob.says("!work 100")
    await trio.sleep(1)
    before = trio.current_time()
    await run.stop()
    assert trio.current_time() - before == pytest.approx(10, abs=0.5)
    await ann.hears(answered("ann worked 5"))
    await chat.run(bot)  # what was cut off is begun anew
    await ann.hears(answered("bob worked 100"), within=200)
    assert ann.transcript().count("ann worked") == 1


async def test_a_server_that_is_not_there_is_told() -> None:
    bot = Bot("b", memory=RamMemory())
    with nobodys_port() as port, pytest.raises(ConnectFailed):
        await bot.serve(f"tcp://127.0.0.1:{port}")


async def test_the_end_of_the_link_is_told() -> None:
    bot = Bot("b", memory=RamMemory())
    async with open_server("memory://", listen=["tcp://127.0.0.1:0"]) as server:

        @bot.once()
        async def end(ctx: JobContext) -> None:
            server.stop()

        with pytest.raises(Disconnected):
            await bot.serve(server.addresses[0], reconnect=False)


async def test_a_bot_outlives_its_server(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    bot, jobs = Bot("b", memory=RamMemory()), list[int]()

    @bot.command
    async def ping(ctx: Context) -> None:
        await ctx.reply("pong")

    @bot.every(0.01)
    async def tick(ctx: JobContext) -> None:
        jobs.append(1)

    async with open_chat(listen=["tcp://127.0.0.1:0"]) as chat:
        url = chat.server.address("tcp")
        async with FaultProxy(url, plan=lambda random, number: Plan()) as proxy, trio.open_nursery() as nursery:
            await nursery.start(bot.serve, proxy.url)
            ann = await chat.person("ann")
            await ann.says("!ping")
            await ann.hears("pong")
            assert proxy.cut_all() == 1
            await ann.says("!ping")
            await ann.hears("pong", within=10)
            bot.stop()
    assert jobs
    said = [record.getMessage() for record in caplog.records if record.name == "chatkit.bot"]
    assert [line.partition(":")[0] for line in said if "link" in line or "back" in line] == [
        "b has lost its link and tries to come back",
        "b is back",
    ]


async def test_cancelled_at_every_await_others_are_undisturbed() -> None:
    async with open_chat(config=ServerConfig(rate_limits=False, linger=0.01)) as chat:
        other = Bot("other", prefix="?")

        @other.command
        async def ping(ctx: Context) -> None:
            await ctx.reply("pong")

        await chat.run(other)
        ann = await chat.person("ann")
        orders = itertools.count()

        async def attempt() -> None:
            number = next(orders)  # what is left over of an attempt that was cut stands in nobody's way
            bot = Bot(f"b{number}", memory=RamMemory())

            @bot.command
            async def order(ctx: Context, number: int) -> None:
                await ctx.user_memory.set("order", number)
                await ctx.ask(f"Order {number}?", bool, timeout=5)
                await ctx.reply(f"done {number}")

            async with trio.open_nursery() as nursery:
                await nursery.start(bot.serve, chat.server.server.connect)
                await ann.says(f"!order {number}")
                await ann.hears(answered(f"Order {number}?"))
                await ann.says("yes")
                await ann.hears(answered(f"done {number}"))
                bot.stop()

        async def afterwards() -> None:
            with trio.fail_after(5):
                while len(ann.room().state.members) > 2:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            await ann.says("?ping")
            await ann.hears(answered("pong", by="other"))

        assert await cancel_at_each_checkpoint(attempt, afterwards=afterwards) > 5


@pytest.mark.parametrize("way", ["memory", "file"])
async def test_a_handler_cancelled_at_every_await_leaves_the_bot_whole(way: str, tmp_path: Path) -> None:
    memory = RamMemory() if way == "memory" else FileMemory(tmp_path / "b.db")
    async with open_chat(config=ServerConfig(rate_limits=False)) as chat:
        bot, counts = Bot("b"), list[int]()

        @bot.command
        async def work(ctx: Context) -> None:
            async def attempt() -> None:
                await ctx.user_memory.update("n", lambda n: n + 1, 0)
                await ctx.say("one")
                await ctx.ask("two?", timeout=0.02)

            async def quietly() -> None:
                try:
                    await attempt()
                except Exception:
                    counts.append(-1)

            counts.append(await cancel_at_each_checkpoint(quietly))
            await ctx.say("whole")

        await chat.run(bot, memory=memory)
        ann = await chat.person("ann")
        await ann.says("!work")
        await ann.hears(answered("whole"), within=20)
        await ann.says("!work")
        await ann.hears(answered("whole"), within=20)
        assert max(counts) > 2


# ── real processes ───────────────────────────────────────────────────────────────────────────────────────────────────

PROGRAM = """\
import sys
from chatkit import Bot, Context

bot = Bot("counter", memory=sys.argv[1] if len(sys.argv) > 1 else None)


@bot.command
async def count(ctx: Context, number: int) -> None:
    await ctx.reply(f"counted {number}")


if __name__ == "__main__":
    bot.run(sys.argv[2])
"""


async def test_killed_among_ten_thousand_messages_each_command_is_answered_once(tmp_path: Path) -> None:
    messages, every, kills = 10_000, 10, 5
    (tmp_path / "bot.py").write_text(PROGRAM)
    config = ServerConfig(rate_limits=False)
    store = f"sqlite:///{tmp_path}/chat.db"
    async with open_chat(store, listen=["tcp://127.0.0.1:0"], config=config) as chat:
        ann = await chat.person("ann", keep=20_000)
        room = ann.room()
        args = [sys.executable, str(tmp_path / "bot.py"), str(tmp_path / "counter.db"), chat.server.address("tcp")]
        process = await trio.lowlevel.open_process(args)
        await _until(lambda: "counter" in room.state.members)

        async def say(start: int, step: int) -> None:
            for number in range(start, messages, step):
                await room.send(f"!count {number}" if number % every == 0 else f"message {number}")

        async def talk() -> None:
            async with trio.open_nursery() as talkers:
                for start in range(200):
                    talkers.start_soon(say, start, 200)

        def answers() -> list[str]:
            return [one.text or "" for one in room.state.messages() if one.user == "counter"]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            for number in range(kills):
                goal = messages // every * (number + 1) // (kills + 2)
                await _until(partial(_at_least, answers, goal))
                process.send_signal(signal.SIGKILL)
                assert await process.wait() == -signal.SIGKILL
                process = await trio.lowlevel.open_process(args)
        wanted = sorted(f"counted {number}" for number in range(0, messages, every))
        await _until(lambda: len(answers()) >= len(wanted))
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert sorted(answers()) == wanted


def _at_least(answers: Callable[[], list[str]], goal: int) -> bool:
    return len(answers()) >= goal


async def _until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(90):
        while not condition():  # noqa: ASYNC110 - another process is waited for
            await trio.sleep(0.02)


async def test_the_command_runs_a_bot_and_sigterm_stops_it_gracefully(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import trio\nfrom chatkit import Bot\nother = Bot('other')\n@other.command\n"
        "async def slow(ctx):\n    await ctx.say('begun')\n    await trio.sleep(0.5)\n    await ctx.say('ended')\n"
    )
    async with open_chat(listen=["ws://127.0.0.1:0"]) as chat:
        ann = await chat.person("ann")
        url = chat.server.address("ws")
        async with chatkit.connect(url, user="other", password="of the owner", register=True) as owner:
            token = await owner.create_token("the bot", role="bot")
        (tmp_path / "token").write_text(token.token)
        args = [sys.executable, "-m", "chatkit", "bot", "run", str(tmp_path / "mine.py:other"), url]
        process = await trio.lowlevel.open_process([*args, "--token-file", str(tmp_path / "token")])
        await _until(lambda: "other" in ann.room().state.members)
        await ann.says("!slow")
        await ann.hears("begun")
        process.send_signal(signal.SIGTERM)
        await ann.hears("ended")
        await ann.hears(UserLeft, user="other")
        assert await process.wait() == 0
        assert (tmp_path / "other.bot.db").exists()


async def test_chatkit_bot_new_writes_a_bot_with_a_test(tmp_path: Path) -> None:
    async def run(*args: str, cwd: Path) -> tuple[int, str]:
        done = await trio.run_process(
            [sys.executable, "-m", *args], cwd=cwd, check=False, capture_stdout=True, capture_stderr=True
        )
        return done.returncode, (done.stdout + done.stderr).decode()

    code, said = await run("chatkit", "bot", "new", "dicey", cwd=tmp_path)
    assert code == 0
    assert "dicey/bot.py is a bot" in said
    code, said = await run("pytest", "-q", cwd=tmp_path / "dicey")
    assert (code, "2 passed" in said) == (0, True), said
    for words, text in [
        (["new", "dicey"], "cannot be made"),
        (["new", "no/name"], "may not contain"),
        (["run", "nothing.py"], "there is no file"),
        (["run", "dicey/bot.py:missing"], "has no bot called missing"),
        (["run", "dicey"], "there is no file dicey"),
        (["run", "dicey/bot.py", "--memory", "no/b.db"], "no/b.db: No such file or directory"),
        (["dance"], "there is no chatkit bot dance"),
    ]:
        code, said = await run("chatkit", "bot", *words, cwd=tmp_path)
        assert (code == 0, text in said, "Traceback" in said) == (False, True, False), said
    with nobodys_port() as port:
        code, said = await run("chatkit", "bot", "run", "dicey/bot.py", f"ws://127.0.0.1:{port}", cwd=tmp_path)
    assert (code == 0, "nobody listens there" in said, "Traceback" in said) == (False, True, False), said
    for source, text in [
        ("def x(:\n", "SyntaxError: invalid syntax"),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError"),
        ("bot = 1 / 0\n", "ZeroDivisionError: division by zero"),
        ("from chatkit import Bot\nbot = Bot('b')\n@bot.command\ndef f(ctx): ...\n", "a handler is an async function"),
    ]:
        (tmp_path / "broken.py").write_text(source)
        code, said = await run("chatkit", "bot", "run", "broken.py", cwd=tmp_path)
        assert said.startswith("chatkit: broken.py cannot be run:")
        assert (code == 0, text in said, "cyclopts" in said, "importlib" in said) == (False, True, False, False), said
