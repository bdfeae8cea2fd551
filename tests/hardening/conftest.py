"""Certificates of a test's own authority, and how long the long forms are."""

from __future__ import annotations

import ssl

import pytest
import trustme
from attrs import frozen


@frozen
class Contexts:
    """TLS for both ends."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def contexts() -> Contexts:
    """Contexts that trust each other."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Contexts(server, client)
