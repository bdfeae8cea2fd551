"""A server's certificate and its key, from files that may be replaced while the server runs."""

from __future__ import annotations

import ssl
from pathlib import Path

from chatkit.errors import UsageError


class Certificates:
    """A certificate with its key, and the TLS context that shows it. Raises `UsageError`, as `renew` does."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self.context = self._loaded(_new_context())
        """For every handshake from now on, also after `renew`."""

    def renew(self) -> None:
        """Read the files again, for the handshakes to come; connections that stand keep theirs.

        Raises `UsageError` if the files cannot be used; the old certificate stays then.
        """
        self._loaded(_new_context())  # a context is left in pieces by files that do not fit each other
        self._loaded(self.context)

    def _loaded(self, context: ssl.SSLContext) -> ssl.SSLContext:
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_passphrase)
        except (OSError, ValueError) as error:
            raise UsageError(self._sentence(error)) from error
        return context

    def _sentence(self, error: OSError | ValueError) -> str:
        for what, path in (("certificate", self._certificate), ("key", self._key)):
            try:
                text = path.read_bytes()
            except OSError as unreadable:
                return f"the {what} {str(path)!r} cannot be read: {unreadable.strerror}"
            if f"{what.upper()}-----".encode() not in text:
                return f"{str(path)!r} holds no {what} in PEM format"
        if isinstance(error, _Encrypted):
            return f"the key {str(self._key)!r} has a passphrase; a server needs it without one"
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            return f"the key {str(self._key)!r} does not belong to the certificate {str(self._certificate)!r}"
        return f"the certificate {str(self._certificate)!r} and the key {str(self._key)!r} cannot be used: {error}"


class _Encrypted(ValueError):
    """A key wants a passphrase."""


def _no_passphrase() -> str:
    raise _Encrypted


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
