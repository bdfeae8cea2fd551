"""A server inside a program that does something else as well: its own tasks talk in the chat, without a socket."""

import sys

import trio

import chatkit

READINGS = 3


async def measure(greenhouse: chatkit.Room) -> None:
    for reading in range(READINGS):
        await greenhouse.send(f"{20 + reading} degrees")
        await trio.sleep(0.1)


async def water(server: chatkit.Server) -> None:
    async with server.connect(user="gardener") as client:
        greenhouse = await client.join("greenhouse", history=100)
        messages = greenhouse.messages()
        for _ in range(READINGS):
            message = await anext(messages)
            print(f"{message.user} says {message.text}", flush=True)


async def main(listen: str = "ws://127.0.0.1:8765") -> None:
    async with (
        chatkit.open_server("memory://", listen=[listen]) as server,
        server.connect(user="thermometer") as client,
    ):
        print("people can watch at", *server.addresses, flush=True)
        greenhouse = await client.create("greenhouse")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(measure, greenhouse)
            nursery.start_soon(water, server)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
