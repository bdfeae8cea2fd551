"""A bot that repeats what others say to it, never what it says itself: "echo: hello" is answered by "hello"."""

import sys

import trio

import chatkit


async def main(url: str = "ws://127.0.0.1:8765") -> None:
    async with chatkit.connect(url, user="echo") as client:
        room = await client.join("general")
        async for message in room.messages():
            if message.user == client.user or not message.text:
                continue
            called, _, text = message.text.partition("echo:")
            if not called and text.strip():
                await room.send(text.strip(), reply_to=message.seq)


if __name__ == "__main__":
    try:
        trio.run(main, *sys.argv[1:])
    except chatkit.ConnectFailed as error:
        sys.exit(str(error))
