"""Certificates of a test's own authority."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from neighbours import Contexts


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who vouches for every server here."""
    return trustme.CA()


@pytest.fixture(scope="session")
def contexts(authority: trustme.CA) -> Contexts:
    """Contexts that trust each other."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Contexts(server, client)


@pytest.fixture
def tls_options(authority: trustme.CA, tmp_path: Path) -> tuple[str, ...]:
    """What ``chatkit serve`` is told, so that who has the contexts trusts it."""
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
