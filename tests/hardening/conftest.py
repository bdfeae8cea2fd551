"""Certificates of a test's own authority."""

from __future__ import annotations

import ssl

import pytest
import trustme
from neighbours import Contexts


@pytest.fixture(scope="session")
def contexts() -> Contexts:
    """Contexts that trust each other."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Contexts(server, client)
