"""``chatkit serve``: running a server until a signal ends it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import trio
from attrs import define

from chatkit.frontends.exits import Exit
from chatkit.frontends.launch import run_command
from chatkit.frontends.logs import start_logging
from chatkit.frontends.options import Parameter
from chatkit.frontends.output import write
from chatkit.private import private_nursery
from chatkit.server import Server, ServerConfig, open_server
from chatkit.server.server import DEFAULT_ADDRESSES, DEFAULT_STORE

Level = Literal["debug", "info", "warning", "error"]
_BY_SIGNAL = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}


def run(arguments: Sequence[str]) -> int:
    """Run a server."""
    return run_command("serve", serve, arguments, "[OPTIONS]")


def serve(
    *,
    store: Annotated[str, Parameter(help="Where everything is kept; memory:// keeps it until the server ends.")] = (
        DEFAULT_STORE
    ),
    listen: Annotated[
        tuple[str, ...],
        Parameter(negative="", show_default=" ".join, help="An address; repeat it for several. Port 0: a free one."),
    ] = DEFAULT_ADDRESSES,
    rate_limits: Annotated[
        bool, Parameter(name="--rate-limits", help="Limit how much one session may send; off for load tests.")
    ] = True,
    log_level: Annotated[Level, Parameter(help="From which level up to log on standard error.")] = "info",
    log_file: Annotated[Path | None, Parameter(help="Log to this file as well, one JSON object per line.")] = None,
) -> int:
    """Run a server until Ctrl-C or SIGTERM, which let everybody finish; a second one ends it at once.

    Prints one line per address once it accepts connections there.
    """
    start_logging(log_level, log_file)
    return trio.run(_serve, store, listen, ServerConfig(rate_limits=rate_limits))


@define(eq=False)
class _Ending:
    """How far the end has come."""

    server: Server | None = None
    code: Exit = Exit.OK


async def _serve(store: str, listen: Sequence[str], config: ServerConfig) -> int:
    ending = _Ending()
    with trio.CancelScope() as at_once, trio.open_signal_receiver(*_BY_SIGNAL) as signals:
        async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
            nursery.start_soon(_obey, signals, ending, at_once)
            async with open_server(store, listen=listen, config=config) as server:
                ending.server = server
                await write("".join(f"listening on {address}\n" for address in server.addresses))
                await server.wait_stopped()
    return ending.code


async def _obey(signals: AsyncIterator[int], ending: _Ending, at_once: trio.CancelScope) -> None:
    async for number in signals:
        if ending.server is None:
            ending.code = _BY_SIGNAL[signal.Signals(number)]
            at_once.cancel()
            continue
        server, ending.server = ending.server, None
        server.stop()
