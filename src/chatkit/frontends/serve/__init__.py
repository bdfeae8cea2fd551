"""``chatkit serve``: running a server until a signal ends it."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import trio
from attrs import define

from chatkit.errors import UsageError
from chatkit.frontends.exits import Exit
from chatkit.frontends.launch import run_command
from chatkit.frontends.logs import start_logging
from chatkit.frontends.output import write
from chatkit.frontends.serve.certificates import Certificates
from chatkit.frontends.serve.flags import token_of, with_flags
from chatkit.frontends.serve.openness import tell_openness
from chatkit.private import private_nursery
from chatkit.server import Server, ServerConfig, open_server
from chatkit.server.settings import ServeOptions, Settings
from chatkit.server.tuning import tune_process

log = logging.getLogger("chatkit.server")
_BY_SIGNAL = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}


def run(arguments: Sequence[str]) -> int:
    """Run a server."""
    return run_command("serve", with_flags(serve), arguments, "[OPTIONS]")


def serve(settings: Settings) -> int:
    """Run a server until Ctrl-C or SIGTERM, which let everybody finish; a second one ends it at once.

    Prints one line per address once it accepts connections there. Where other machines reach it, it says first what is
    open to them. SIGHUP reads the certificate again.
    """
    options = settings.options
    certificates = _certificates(options)
    config = settings.config(
        operator_token=token_of(settings), ssl_context=certificates.context if certificates else None
    )
    start_logging(options.log_level, Path(options.log_file) if options.log_file else None)
    tune_process()
    return trio.run(_serve, options, config, certificates)


def _certificates(options: ServeOptions) -> Certificates | None:
    if options.tls_cert is None:
        if options.tls_key is not None:
            raise UsageError("tls_key is set and tls_cert is not")
        return None
    if not any(url.startswith(("wss:", "tls:")) for url in options.listen):
        raise UsageError("tls_cert is set, but no address to listen on begins with wss:// or tls://")
    return Certificates(Path(options.tls_cert), Path(options.tls_key or options.tls_cert))


@define(eq=False)
class _Ending:
    """How far the end has come."""

    server: Server | None = None
    code: Exit = Exit.OK


async def _serve(options: ServeOptions, config: ServerConfig, certificates: Certificates | None) -> int:
    ending = _Ending()
    with trio.CancelScope() as at_once, trio.open_signal_receiver(*_BY_SIGNAL) as signals:
        async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
            nursery.start_soon(_obey, signals, ending, at_once)
            if certificates is not None:
                await nursery.start(_renew, certificates)
            async with open_server(options.store, listen=options.listen, config=config) as server:
                ending.server = server
                await tell_openness(options.store, config, server.addresses)
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


async def _renew(certificates: Certificates, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            try:
                certificates.renew()
            except UsageError as error:
                log.error("the certificate stays as it was: %s", error, extra={"event": "certificate_kept"})
            else:
                log.info("the certificate was read again", extra={"event": "certificate_renewed"})
