"""A chat in a terminal: both directions at once, and no more than that. Type /quit to leave.

python examples/cli.py ann ws://127.0.0.1:8765
"""

import sys

import trio

import chatkit


async def show(room: chatkit.Room) -> None:
    async for message in room.messages():
        print(f"{message.time:%H:%M} {message.user}: {message.text}", flush=True)


async def main(user: str, url: str = "ws://127.0.0.1:8765") -> None:
    async with chatkit.connect(url, user=user) as client, trio.open_nursery() as nursery:
        room = await client.join("general", history=10)
        nursery.start_soon(show, room)
        while (line := await trio.to_thread.run_sync(sys.stdin.readline)) and line != "/quit\n":
            try:
                await room.send(line.rstrip("\n"))
            except chatkit.RequestFailed as refused:
                print(f"! {refused.message}", flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    try:
        trio.run(main, *sys.argv[1:])
    except chatkit.ConnectFailed as error:
        sys.exit(str(error))
