"""The smallest client: say one thing, print what is said from then on."""

import sys

import trio

import chatkit


async def main(url: str = "ws://127.0.0.1:8765") -> None:
    async with chatkit.connect(url, user="ann") as client:
        room = await client.join("general")
        await room.send("Hello, everybody!")
        async for message in room.messages():
            print(f"{message.user}: {message.text}", flush=True)


if __name__ == "__main__":
    try:
        trio.run(main, *sys.argv[1:])
    except chatkit.ConnectFailed as error:
        sys.exit(str(error))
