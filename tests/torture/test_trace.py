"""No reply and no event leaves a socket before the fdatasync of its commit has returned."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from processes import reserved_ports, running
from traces import OPTIONS, Trace

import chatkit
from chatkit.client import Client

CLIENTS = 6
MESSAGES = 10

WRITE = '11 pwrite64(9</x/a.db-wal>, "\\r\\0op-one\\0", 4096, 0) = 4096\n'
SYNC = "11 fdatasync(9</x/a.db-wal>) = 0\n"
REPLY = (
    '10 sendto(7<TCP:[127.0.0.1:1->127.0.0.1:2]>, "{\\"action\\":\\"success\\",\\"ref\\":4,\\"data\\":'
    '{\\"room\\":\\"general\\",\\"epoch\\":\\"3c51\\",\\"seq\\":1,\\"duplicate\\":false}}\\n", 99, 0, NULL, 0) = 99\n'
)
EVENT = (
    '10 sendto(7<TCP:[127.0.0.1:1->127.0.0.1:2]>, "{\\"action\\":\\"receive_message\\",\\"data\\":'
    '{\\"seq\\":1,\\"op\\":\\"op-one\\"}}\\n", 99, 0, NULL, 0) = 99\n'
)
SYNC_BEGINS = "11 fdatasync(9</x/a.db-wal> <unfinished ...>\n"
SYNC_ENDS = "11 <... fdatasync resumed>) = 0\n"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([WRITE, REPLY, SYNC], id="the reply before the sync"),
        pytest.param([WRITE, EVENT, SYNC], id="the event before the sync"),
        pytest.param([WRITE, REPLY], id="no sync"),
        pytest.param([SYNC, REPLY], id="nothing written"),
        pytest.param([SYNC, WRITE, REPLY], id="a sync of something else before"),
        pytest.param([WRITE, SYNC_BEGINS, REPLY, SYNC_ENDS], id="the sync under way"),
        pytest.param([SYNC_BEGINS, WRITE, SYNC_ENDS, REPLY], id="written while the sync was under way"),
        pytest.param([WRITE, SYNC.replace("= 0", "= -1 EIO"), REPLY], id="the sync failed"),
        pytest.param([WRITE, SYNC.replace("a.db-wal", "a.db"), REPLY], id="another file's sync"),
        pytest.param([WRITE.replace("= 4096", "= -1 ENOSPC"), SYNC, REPLY], id="the write failed"),
    ],
)
def test_a_doctored_trace_is_found_out(lines: list[str]) -> None:
    assert len(Trace({1: "op-one"}).read(lines).violations) == 1


@pytest.mark.parametrize("sync", [[SYNC], [SYNC_BEGINS, SYNC_ENDS]])
def test_an_honest_trace_passes(sync: list[str]) -> None:
    trace = Trace({1: "op-one"}).read([WRITE, *sync, REPLY, EVENT])
    assert (trace.violations, trace.replies, trace.events) == ([], 1, 1)


async def traced(folder: Path, pragma: str = "") -> Trace:
    """Let a few clients talk at a traced server; return what its trace says."""
    acked: dict[int, str] = {}

    async def say(client: Client) -> None:
        for _ in range(MESSAGES):
            op = secrets.token_hex(12)
            message = await client.rooms["general"].send("something", op=op)
            acked[message.seq] = op

    async def talk(url: str, name: str) -> None:
        async with chatkit.connect(url, user=name) as client, trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(say, client)

    with reserved_ports(2) as (ws, tcp):
        listen = [f"ws://127.0.0.1:{ws}", f"tcp://127.0.0.1:{tcp}"]
        tracer = ("strace", *OPTIONS, "-o", str(folder / "trace"))
        async with running(folder / "chat.db", listen, under=tracer, pragma=pragma):
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    for number in range(CLIENTS):
                        nursery.start_soon(talk, listen[number % 2], f"t{number}")
    with (folder / "trace").open(errors="replace") as lines:
        return Trace(acked).read(lines)


async def test_no_reply_leaves_before_its_commit_is_on_disk(
    tmp_path: Path, require_tool: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    require_tool("strace")
    trace = await traced(tmp_path)
    with capsys.disabled():
        print(f"\ntrace: {trace.replies} replies, {trace.events} events, {len(trace.violations)} too early")
    assert trace.violations == []
    assert trace.replies == 2 * CLIENTS * MESSAGES
    assert trace.events >= 2 * CLIENTS * MESSAGES


@pytest.mark.parametrize("mode", ["OFF", "NORMAL"])
async def test_a_server_that_does_not_wait_for_its_disk_is_found_out(
    tmp_path: Path, require_tool: Callable[..., None], mode: str
) -> None:
    require_tool("strace")
    trace = await traced(tmp_path, pragma=f"synchronous = {mode}")
    assert len(trace.violations) > CLIENTS * MESSAGES
