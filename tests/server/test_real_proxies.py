"""The reverse proxies of the guide to deploying, as it configures them, in front of a server."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from attrs import frozen

import chatkit

EXAMPLES = Path(__file__).parents[2] / "examples" / "deploy"
HOST = "chat.example.org"
PATIENCE = 15.0

NGINX = """
daemon off;
{user}
pid {folder}/pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    {site}
}}
"""
APACHE = """
ServerRoot {folder}
PidFile {folder}/pid
ErrorLog /dev/stderr
Listen 127.0.0.1:{port}
ServerName localhost
{user}
{modules}
{site}
"""
MODULES = ("mpm_event", "authz_core", "socache_shmcb", "ssl", "headers", "proxy", "proxy_http")


@frozen
class Proxied:
    """A server behind a proxy."""

    server: chatkit.Server
    port: int
    context: ssl.SSLContext

    async def dial(self, source: str) -> trio.SSLStream[trio.SocketStream]:
        """Connect to the proxy from an address of this machine."""
        plain = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=source)
        stream = trio.SSLStream(plain, self.context, server_hostname=HOST, https_compatible=True)
        await stream.do_handshake()
        return stream


def _filled(text: str, upstream: int, port: int, folder: Path) -> str:
    """A configuration of the guide with this test's ports and files."""
    for was, now in (
        ("127.0.0.1:8765", f"127.0.0.1:{upstream}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("*:443", f"127.0.0.1:{port}"),
        (f"/etc/letsencrypt/live/{HOST}/fullchain.pem", str(folder / "cert.pem")),
        (f"/etc/letsencrypt/live/{HOST}/privkey.pem", str(folder / "key.pem")),
    ):
        text = text.replace(was, now)
    assert "/etc/letsencrypt" not in text
    assert ":8765" not in text
    return text


def _command(proxy: str, upstream: int, port: int, folder: Path) -> list[str]:
    site = _filled((EXAMPLES / f"{proxy}.conf").read_text(), upstream, port, folder)
    config = folder / "proxy.conf"
    if proxy == "nginx":
        user = "user root;" if os.getuid() == 0 else ""
        config.write_text(NGINX.format(user=user, folder=folder, site=site))
        return [_found("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(config)]
    modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in MODULES)
    user = "User www-data\nGroup www-data" if os.getuid() == 0 else ""
    config.write_text(APACHE.format(user=user, folder=folder, port=port, modules=modules, site=site))
    return [_found("apache2"), "-D", "FOREGROUND", "-f", str(config)]


def _found(name: str) -> str:
    path = shutil.which(name)
    assert path is not None
    return path


def _certified(folder: Path) -> ssl.SSLContext:
    """Put a certificate into a folder the proxy can read; return a context that trusts it."""
    folder.chmod(0o755)
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def proxied(proxy: str, folder: Path) -> AsyncIterator[Proxied]:
    context, port = _certified(folder), _free_port()
    config = chatkit.ServerConfig(
        trusted_proxies=("127.0.0.1",), origins=(f"https://{HOST}:{port}",), operator_token="a-token"
    )
    async with chatkit.open_server("memory://", listen=["ws://127.0.0.1:0"], config=config) as server:
        upstream = int(server.addresses[0].rpartition(":")[2])
        command = _command(proxy, upstream, port, folder)
        process = await trio.lowlevel.open_process(command, stderr=subprocess.DEVNULL)
        try:
            await _listening(port)
            yield Proxied(server, port, context)
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()


async def _listening(port: int) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.02)  # another program is starting; it tells nobody when it is ready
            else:
                await stream.aclose()
                return


async def heard(stream: trio.SSLStream[trio.SocketStream], words: bytes) -> bytes:
    received = b""
    with trio.fail_after(PATIENCE):
        while words not in received and (data := await stream.receive_some()):
            received += data
    return received


UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: {origin}\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Forwarded-For: 203.0.113.99\r\n\r\n"
)


@pytest.mark.parametrize("proxy", ["nginx", "apache"])
async def test_a_server_behind_it(proxy: str, tmp_path: Path, require_tool: Callable[..., None]) -> None:
    require_tool({"apache": "apache2"}.get(proxy, proxy))
    async with proxied(proxy, tmp_path) as here:
        host = f"{HOST}:{here.port}"

        # The page and its files, several on one connection to the proxy.
        stream = await here.dial("127.0.0.2")
        for path, words in (("/", b"</html>"), ("/static/page.js", b"use strict"), ("/healthz", b'"ready":true')):
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert words in await heard(stream, words)
        await trio.aclose_forcefully(stream)

        # A browser's WebSocket: its own page, its own address whatever it says.
        stream = await here.dial("127.0.0.2")
        await stream.send_all(UPGRADE.format(host=host, origin=f"https://{host}").encode())
        assert b"hello" in await heard(stream, b"hello")
        (connection,) = here.server.connections()
        assert connection.address == "127.0.0.2"
        await trio.aclose_forcefully(stream)

        # Another page's is refused.
        stream = await here.dial("127.0.0.2")
        await stream.send_all(UPGRADE.format(host=host, origin="https://evil.example").encode())
        assert b"403" in (await heard(stream, b"\r\n\r\n")).partition(b"\r\n")[0]
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("proxy", ["nginx", "apache"])
async def test_a_conversation_through_it(proxy: str, tmp_path: Path, require_tool: Callable[..., None]) -> None:
    require_tool({"apache": "apache2"}.get(proxy, proxy))
    async with proxied(proxy, tmp_path) as here:
        here.context.check_hostname = False  # the certificate is for the public name, the test's address is not
        url = f"wss://127.0.0.1:{here.port}/ws"
        async with (
            chatkit.connect(url, user="ann", ssl_context=here.context) as ann,
            chatkit.connect(url, user="bob", ssl_context=here.context, encoding="msgpack") as bob,
        ):
            incoming = bob.rooms["general"].messages()
            for number in range(50):
                await ann.rooms["general"].send(f"number {number} " + "x" * 5000)
            with trio.fail_after(PATIENCE):
                for number in range(50):
                    assert (await anext(incoming)).text.startswith(f"number {number} ")
            await bob.rooms["general"].send(bytes(range(256)))
