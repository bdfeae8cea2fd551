"""One person in two rooms at once: what is said in one stays there."""

import trio

import chatkit


async def main() -> None:
    async with (
        chatkit.open_server("memory://", listen=()) as server,
        server.connect(user="ann") as ann,
        server.connect(user="bob") as bob,
    ):
        tea = await ann.create("tea", topic="green or black?")
        await tea.send("Only those in here read this.")
        await ann.rooms["general"].send("Come to the tea room!")

        print("bob is in", *bob.rooms)
        await show(bob.rooms["general"])
        await show(await bob.join("tea", history=10))
        print("bob is in", *bob.rooms)


async def show(room: chatkit.Room) -> None:
    message = await anext(room.messages())
    print(f"[{room.name}] {message.user}: {message.text}")


if __name__ == "__main__":
    trio.run(main)
