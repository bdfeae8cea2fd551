"""chatkit itself, with everything on but rate limits, which a load test would only run into."""

from __future__ import annotations

import argparse
import signal

import attrs
import trio

from chatkit import ServerConfig, open_server
from chatkit.server.tuning import tune_process


async def serve(port: int, store: str, list_interval: float) -> None:
    config = ServerConfig(rate_limits=False, list_interval=list_interval)
    engine = attrs.evolve(config.engine, rooms_per_session=10_000)
    async with open_server(
        store, listen=[f"ws://127.0.0.1:{port}"], config=attrs.evolve(config, engine=engine)
    ) as server:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                server.stop()
                return


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("store")
    parser.add_argument("--list-interval", type=float, default=ServerConfig().list_interval)
    arguments = parser.parse_args()
    tune_process()
    trio.run(serve, arguments.port, arguments.store, arguments.list_interval)


if __name__ == "__main__":
    main()
