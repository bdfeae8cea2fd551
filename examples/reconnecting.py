"""A diary: writes down everything said in a room, whatever happens to the network, the server or the program itself."""

import sys
from pathlib import Path

import trio

import chatkit
from chatkit.client import Connected, Reconnecting


async def tell_of_the_link(client: chatkit.Client) -> None:
    async for status in client.statuses():
        match status:
            case Connected():
                print("* connected", flush=True)
            case Reconnecting(attempt=attempt):
                print(f"* the link is lost; try {attempt} comes next", flush=True)
            case _:
                print(f"* gone for good: {status.why}", flush=True)


async def write_down(room: chatkit.Room, cursor: chatkit.Cursor) -> None:
    messages = room.messages(cursor=cursor)
    while True:
        try:
            async for message in messages:
                print(f"{message.seq} {message.user}: {message.text}", flush=True)
            return  # the room has been deleted
        except chatkit.PositionLost as lost:
            print(f"* what came after {lost.seq} is no longer kept", flush=True)


async def main(url: str = "ws://127.0.0.1:8765", folder: str = ".") -> None:
    kept_token = trio.Path(folder, "diary.token")
    token = await kept_token.read_text() if await kept_token.exists() else None
    async with (
        chatkit.Cursor(Path(folder, "diary.cursor")) as cursor,
        chatkit.connect(url, user="diary", token=token, outbox=Path(folder, "diary.outbox")) as client,
        trio.open_nursery() as nursery,
    ):
        await kept_token.write_text(client.token)
        nursery.start_soon(tell_of_the_link, client)
        nursery.start_soon(write_down, client.rooms["general"], cursor)
        await client.rooms["general"].send("The diary is open.")


if __name__ == "__main__":
    try:
        trio.run(main, *sys.argv[1:])
    except chatkit.ConnectFailed as error:
        sys.exit(str(error))
