"""Passwords: what one may be, what is kept of it, and whether one is right. The work is for threads, few and bounded.

Laws: an account that does not exist costs the work of one that does; a thread that works on for somebody who left
still counts; more than so many who wait are turned away; what is damaged in the store lets nobody in.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, get_args

import precis_i18n
import trio

from chatkit.errors import MissingExtra, ProtocolError, RequestFailed
from chatkit.protocol.accounts import NewPassword
from chatkit.protocol.bounds import Between
from chatkit.protocol.codes import ErrorCode
from chatkit.server.logbook import Logbook

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MEMORY_KIB = 19_456
"""19 MiB with two passes and one lane: the least that OWASP's Password Storage Cheat Sheet advises for argon2id."""
PASSES = 2
LANES = 1
SALT_BYTES = 16
DIGEST_BYTES = 32
MOST_WAITING = 256
"""Passwords waiting for a thread: about seven seconds of work for one core."""
AGAIN_AFTER = 2.0
"""Seconds after which somebody who was turned away may try again."""

log = Logbook("chatkit.server.passwords")
T = TypeVar("T")

_opaque = precis_i18n.get_profile("OpaqueString")


def prepared(password: str) -> str:
    """Return a password in the form that is hashed, whatever keyboard it was typed on (RFC 8265, OpaqueString: NFC,
    other spaces become spaces, case stays).

    Raises `ProtocolError` (``bad_request``) for what cannot be one: nothing at all, control characters, surrogates.
    """
    try:
        return str(_opaque.enforce(password))
    except UnicodeEncodeError as error:
        reason = "has a character that passwords cannot have" if password else "is empty"
        raise ProtocolError(f"the password {reason}", code=ErrorCode.BAD_REQUEST) from error


def check_new(password: str) -> None:
    """Raise `ProtocolError` (``bad_request``) if a password is too short or too long to begin with."""
    bounds: Between = get_args(NewPassword)[1]
    prepared(password)
    size = len(password.encode())
    if not bounds.least <= size <= bounds.most:
        short_or_long = f"{size} bytes long: expected {bounds.least} to {bounds.most}"
        raise ProtocolError(f"the password is {short_or_long}", code=ErrorCode.BAD_REQUEST)


class Passwords:
    """Hashes and compares passwords with argon2id, in at most ``workers`` threads at a time.

    ``workers`` None leaves one core to the chat. ``most_waiting`` bounds those who wait for a thread. The costs are for
    new hashes; a hash says its own, so those made with others are compared as well. Needs the extra ``server`` as soon
    as it is used.
    """

    def __init__(
        self,
        *,
        memory_kib: int = MEMORY_KIB,
        passes: int = PASSES,
        lanes: int = LANES,
        workers: int | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._costs = (passes, memory_kib, lanes)
        self._workers = workers or max(1, (os.cpu_count() or 1) - 1)
        self._most_waiting = most_waiting
        self._limiter: trio.CapacityLimiter | None = None
        self._hasher: PasswordHasher | None = None
        self._nobodys: str | None = None
        self._making = threading.Lock()

    @property
    def busy(self) -> int:
        """How many threads are at work, also for those who have left."""
        return 0 if self._limiter is None else self._limiter.borrowed_tokens

    async def verify(self, hash: str | None, password: str) -> bool:
        """Say whether a password is the one that was hashed. ``hash`` None stands for an account that does not exist or
        has no password: the work is the same, and the answer False.

        Raises `RequestFailed` (``rate_limited``) when too many wait. Cancelled, it returns at once; a comparison that
        has begun goes on in its thread and counts until it ends.
        """
        try:
            ready = prepared(password)
        except ProtocolError:
            hash, ready = None, ""
        return await self._run(lambda: self._compare(hash, ready))

    async def hash(self, password: str) -> str:
        """Return what is kept of a new password. Its length is for the caller to judge: `check_new`.

        Raises `ProtocolError` as `prepared` does, and `RequestFailed` as `verify` does; cancelled, it is like `verify`.
        """
        ready = prepared(password)
        return await self._run(lambda: self._made().hash(ready))

    def outdated(self, hash: str) -> bool:
        """Whether a hash that a password was just found right by has other costs than a new one would: make it anew."""
        try:
            return self._made().check_needs_rehash(hash)
        except ValueError:
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(self._workers)
        if self._limiter.statistics().tasks_waiting >= self._most_waiting:
            raise RequestFailed(
                ErrorCode.RATE_LIMITED,
                f"too many log in right now; try again in {AGAIN_AFTER:.0f} s",
                retry_after=AGAIN_AFTER,
                scope="login",
            )
        return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)

    def _compare(self, hash: str | None, password: str) -> bool:
        hasher, nobodys = self._made(), self._nobodys or ""
        from argon2.exceptions import VerificationError, VerifyMismatchError

        # A damaged hash is followed by nobody's: it costs the work of a wrong password, too.
        for candidate in (hash, nobodys):
            if candidate is None:
                continue
            try:
                return hasher.verify(candidate, password) and candidate is hash
            except VerifyMismatchError:
                return False
            except (VerificationError, ValueError) as error:
                log.error("a password's hash in the store is damaged, it lets nobody in: %r", error, event="bad_hash")
        return False

    def _made(self) -> PasswordHasher:
        """Return the hasher, and make it when it is first needed, with a hash that nobody has the password of."""
        with self._making:
            if self._hasher is None:
                try:
                    from argon2 import PasswordHasher
                except ImportError as error:
                    raise MissingExtra("logging in with a password", "server") from error
                passes, memory_kib, lanes = self._costs
                hasher = PasswordHasher(
                    passes, memory_kib, lanes, hash_len=DIGEST_BYTES, salt_len=SALT_BYTES, encoding="utf-8"
                )
                self._nobodys = hasher.hash(os.urandom(32).hex())
                self._hasher = hasher
        return self._hasher
