"""TLS as an operator and people have it: certificates in files, renewed under way, verified by every client."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme
from at_work import CHATKIT, run, running, serving
from attrs import frozen

import chatkit
from chatkit.frontends.exits import Exit
from chatkit.frontends.options import trusting
from chatkit.frontends.serve.certificates import Certificates
from chatkit.transport.interface import TransportOptions

LISTEN = ("wss://localhost:0", "tls://localhost:0")


@frozen
class Files:
    """An authority, and what it has issued into a folder."""

    folder: Path
    authority: trustme.CA

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    @property
    def context(self) -> ssl.SSLContext:
        context = trusting(Path(self.ca))
        assert context is not None
        return context

    def issue(self, *names: str, **options: datetime) -> None:
        issued = self.authority.issue_cert(*names, **options)
        issued.private_key_pem.write_to_path(self.folder / "key.pem")
        (self.folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    made = Files(tmp_path, authority)
    made.issue("localhost")
    return made


@asynccontextmanager
async def secured(files: Files, *, handshake_timeout: float = 10.0) -> AsyncIterator[tuple[str, str]]:
    """Run a server with the certificate in the files; give its addresses."""
    context = Certificates(files.folder / "cert.pem", files.folder / "key.pem").context
    options = TransportOptions(handshake_timeout=handshake_timeout)
    config = chatkit.ServerConfig(ssl_context=context, transport=options)
    async with chatkit.open_server("memory://", listen=LISTEN, config=config) as server:
        wss, tls = server.addresses
        yield wss, tls


async def test_people_talk_over_both_bindings(files: Files) -> None:
    async with secured(files) as (wss, tls):
        async with chatkit.connect(wss, user="ann", ssl_context=files.context) as ann:
            sent = await run("send", tls, "hello from bob", "--user", "bob", "--ca", files.ca)
            assert sent.returncode == 0, sent.stderr
            assert [message.text for message in await ann.rooms["general"].past_messages()] == ["hello from bob"]
        told = await run("tail", wss, "--user", "eve", "--ca", files.ca, "--count", "1", "--json")
        assert json.loads(told.stdout)["data"]["text"] == "hello from bob"
        talked = await run("chat", tls, "--user", "kim", "--ca", files.ca, said="one\ntwo\n")
        assert talked.returncode == 0, talked.stderr
        measured = await run(
            "bench", wss, "--ca", files.ca, "--members", "3", "--rate", "20", "--duration", "0.5", "--json"
        )
        assert measured.returncode == 0, measured.stderr


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("names", "options", "sentence"),
    [
        (["example.org"], {}, "it is for another host"),
        (["localhost"], {"not_after": datetime.now(UTC) - timedelta(days=1)}, "it has expired"),
        (["localhost"], {"not_before": datetime.now(UTC) + timedelta(days=1)}, "it is not valid yet"),
    ],
)
async def test_a_certificate_that_is_not_right(
    names: list[str], options: dict[str, datetime], sentence: str, number: int, files: Files
) -> None:
    if "not_after" in options:
        options = {**options, "not_before": options["not_after"] - timedelta(days=1)}
    files.issue(*names, **options)
    async with secured(files) as urls:
        with pytest.raises(chatkit.ConnectFailed, match="the server's certificate is not trusted") as caught:
            async with chatkit.connect(urls[number], user="ann", ssl_context=files.context):
                pass
    assert sentence in str(caught.value)


async def test_verification_is_on_by_default(files: Files) -> None:
    async with secured(files) as urls:
        for url in urls:
            refused = await run("send", url, "hello", "--user", "ann")
            assert refused.returncode == Exit.NO_LINK
            assert "its authority is not known here" in refused.stderr
            assert "--ca" in refused.stderr
            assert refused.stderr.count("\n") == 1


async def test_a_certificate_signed_by_itself(files: Files) -> None:
    # An authority's own certificate is one; it stands for a server that was set up in a hurry.
    files.authority.cert_pem.write_to_path(files.folder / "cert.pem")
    files.authority.private_key_pem.write_to_path(files.folder / "key.pem")
    async with secured(files) as (wss, _):
        refused = await run("send", wss, "hello", "--user", "ann")
    assert refused.returncode == Exit.NO_LINK
    assert "it is signed by itself" in refused.stderr


async def test_tls_where_there_is_none(tmp_path: Path) -> None:
    async with serving(tmp_path, "--store", "memory://") as server:
        for url in (server.ws.replace("ws:", "wss:"), server.tcp.replace("tcp:", "tls:")):
            refused = await run("send", url, "hello", "--user", "ann")
            assert refused.returncode == Exit.NO_LINK
            assert "does not speak TLS" in refused.stderr or "hung up during the TLS handshake" in refused.stderr


async def test_no_tls_where_there_is_some(files: Files) -> None:
    async with secured(files, handshake_timeout=1.0) as urls:  # for so long a peer may say nothing
        for url in (urls[0].replace("wss:", "ws:"), urls[1].replace("tls:", "tcp:")):
            refused = await run("send", url, "hello", "--user", "ann")
            assert refused.returncode in (Exit.NO_LINK, Exit.LINK_LOST)
            assert refused.stderr.count("\n") == 1


async def test_a_peer_that_is_too_old(files: Files) -> None:
    async with secured(files) as urls:
        for url in urls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            stream = await trio.open_tcp_stream("localhost", int(url.rpartition(":")[2].partition("/")[0]))
            with pytest.raises(trio.BrokenResourceError):
                await trio.SSLStream(stream, context, server_hostname="localhost").do_handshake()
            await trio.aclose_forcefully(stream)


def serial(port: int, context: ssl.SSLContext) -> str:
    """Return the serial number of the certificate that is shown on a port."""
    with (
        socket.create_connection(("localhost", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as link,
    ):
        shown = link.getpeercert()
        assert shown
        return str(shown["serialNumber"])


async def test_a_new_certificate_is_shown_without_dropping_anybody(files: Files) -> None:
    options = ("--tls-cert", "cert.pem", "--tls-key", "key.pem", "--store", "memory://")
    listen = [word for url in LISTEN for word in ("--listen", url)]
    command = ("sh", "-c", 'exec "$@" 2>&1', "sh", *CHATKIT, "serve", *options, *listen)
    async with running(*command, folder=files.folder) as process:
        urls = [
            (await process.until(f"listening on {scheme}")).partition("listening on ")[2].split()[0]
            for scheme in ("wss", "tls")
        ]
        ports = [int(url.rpartition(":")[2].partition("/")[0]) for url in urls]
        async with (
            chatkit.connect(urls[0], user="ann", ssl_context=files.context, reconnect=False) as ann,
            chatkit.connect(urls[1], user="bob", ssl_context=files.context, reconnect=False) as bob,
        ):
            before = [await trio.to_thread.run_sync(serial, port, files.context) for port in ports]
            files.issue("localhost")
            process.process.send_signal(signal.SIGHUP)
            await process.until("the certificate was read again")
            after = [await trio.to_thread.run_sync(serial, port, files.context) for port in ports]
            assert before[0] == before[1] != after[0] == after[1]
            await ann.rooms["general"].send("still here")
            await bob.rooms["general"].send("so am I")

            # Files that do not fit each other, or none: the certificate that works is kept.
            (files.folder / "key.pem").write_bytes(trustme.CA().private_key_pem.bytes())
            process.process.send_signal(signal.SIGHUP)
            assert "does not belong to the certificate" in await process.until("the certificate stays as it was")
            (files.folder / "cert.pem").unlink()
            process.process.send_signal(signal.SIGHUP)
            assert "cannot be read" in await process.until("the certificate stays as it was")
            assert [await trio.to_thread.run_sync(serial, port, files.context) for port in ports] == after
            await ann.rooms["general"].send("still here")
            async with chatkit.connect(urls[0], user="kim", ssl_context=files.context):
                pass


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda files: (files.folder / "key.pem").write_text("nonsense"), "holds no key in PEM format"),
        (lambda files: (files.folder / "cert.pem").write_text(""), "holds no certificate in PEM format"),
        (lambda files: (files.folder / "key.pem").unlink(), "the key 'key.pem' cannot be read"),
        (
            lambda files: (files.folder / "key.pem").write_bytes(trustme.CA().private_key_pem.bytes()),
            "does not belong to the certificate",
        ),
    ],
)
async def test_files_that_cannot_be_used(spoil: object, sentence: str, files: Files) -> None:
    assert callable(spoil)
    spoil(files)
    ended = await run(
        "serve",
        "--listen",
        LISTEN[0],
        "--store",
        "memory://",
        "--tls-cert",
        "cert.pem",
        "--tls-key",
        "key.pem",
        folder=files.folder,
    )
    assert ended.returncode == Exit.USAGE
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1


async def test_one_file_may_hold_both(files: Files) -> None:
    both = (files.folder / "cert.pem").read_bytes() + (files.folder / "key.pem").read_bytes()
    (files.folder / "both.pem").write_bytes(both)
    async with (
        serving(files.folder, "--tls-cert", "both.pem", "--store", "memory://", listen=LISTEN) as server,
        chatkit.connect(server.ws, user="ann", ssl_context=files.context) as ann,
        chatkit.connect(server.tcp, user="bob", ssl_context=files.context),
    ):
        assert ann.user == "ann"


def test_an_authority_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(chatkit.UsageError, match="cannot be read"):
        trusting(tmp_path / "none.pem")
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(chatkit.UsageError, match="holds no certificate"):
        trusting(tmp_path / "empty.pem")
