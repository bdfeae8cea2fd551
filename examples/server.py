"""A chat server: everything said is kept in chat.db. Stop it with Ctrl-C."""

import contextlib
import sys

import trio

import chatkit


async def main(*listen: str) -> None:
    addresses = listen or ("ws://127.0.0.1:8765", "tcp://127.0.0.1:8766")
    async with chatkit.open_server("sqlite:///chat.db", listen=addresses) as server:
        print("listening on", *server.addresses, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        trio.run(main, *sys.argv[1:])
