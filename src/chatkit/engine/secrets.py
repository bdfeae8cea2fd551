"""Tokens: what they look like, and what is kept of them.

A guest's token is kept nowhere: whoever has it is that guest, and it says under which author they write, sealed so that
nobody makes one that says another. An account's is kept as a hash, and begins so that a leaked one is recognised for
what it is.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

from chatkit.errors import ProtocolError
from chatkit.protocol.names import name_key

SESSION = "chatkit_s_"
API = "chatkit_t_"
INVITATION = "chatkit_i_"
LEAST, MOST = 32, 256
"""Characters of a token that a guest may bring."""


def digest_of(token: str) -> str:
    """Return what is kept of an account's token: a random secret needs no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_of_account(token: str) -> bool:
    """Whether a token was made for an account, good or not."""
    return token.startswith((SESSION, API))


def is_of_guest(token: str) -> bool:
    """Whether a token can be a guest's."""
    return LEAST <= len(token) <= MOST and token.isascii() and token.isprintable() and not is_of_account(token)


def principal_of(token: str) -> str:
    """Return the id that a guest's rights are tied to: whoever has the token is that guest."""
    return "guest:" + digest_of(token)[:32]


def guest_token(secret: str, key: str, seal: str) -> str:
    """Return the token of a guest who first comes as ``key``. It says so for good: whoever renames and comes back with
    it writes under the same author, so that what they repeat is known to be a repeat. ``seal`` is a secret of this
    server's."""
    said = f"{secret}.{urlsafe_b64encode(key.encode()).decode().rstrip('=')}"
    return f"{said}.{_sealed(said, seal)}"


def _sealed(said: str, seal: str) -> str:
    return hmac.new(seal.encode(), said.encode(), hashlib.sha256).hexdigest()[:32]


def author_in(token: str, seal: str) -> str | None:
    """Return the author a guest's token names, None if it names none or was not made here."""
    said, _, sealed = token.rpartition(".")
    if not hmac.compare_digest(sealed.encode(), _sealed(said, seal).encode()):
        return None
    encoded = said.partition(".")[2]
    try:
        author = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        return author if author and name_key(author) == author else None
    except (ValueError, ProtocolError):
        return None
