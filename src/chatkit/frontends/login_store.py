"""Logins that a person's chat remembers: the newest token for each server and name, in files only they can read.

Law: one chat at a time uses a remembered login; two with the same token would push each other out. Whoever has no
account leaves no trace.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from chatkit.errors import ProtocolError
from chatkit.protocol.names import name_key

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


def default_folder() -> Path:
    """Return where logins are remembered: a folder of the XDG base directory specification."""
    state = os.environ.get("XDG_STATE_HOME") or ""
    base = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return base / "chatkit" / "logins"


class RememberedLogin:
    """The login of one name at one server, as far as no other chat uses it at the time."""

    def __init__(self, url: str, user: str, folder: Path | None = None) -> None:
        with suppress(ProtocolError):  # what is no name, the server will say
            user = name_key(user)
        self._said = {"url": url, "user": user}
        self._folder = folder or default_folder()
        self._path = self._folder / f"{hashlib.sha256(f'{url} {user}'.encode()).hexdigest()[:32]}.json"
        self._lock: IO[bytes] | None = None

    def token(self) -> str | None:
        """Return the newest token, and hold it against other chats; None if none is remembered or another has it."""
        if not self._path.exists() or not self._held():
            return None
        try:
            said = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return None
        token = said.get("token") if isinstance(said, dict) else None
        return token if isinstance(token, str) and token else None

    def remember(self, token: str) -> None:
        """Keep a token instead of the last one; forget it if it is empty. What cannot be written is not kept."""
        if not self._held():
            return
        with suppress(OSError):
            if not token:
                self._path.unlink(missing_ok=True)
                return
            fresh = self._path.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({**self._said, "token": token}, file)
                file.flush()
                os.fsync(descriptor)
            os.replace(fresh, self._path)

    def close(self) -> None:
        """Let another chat use it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _held(self) -> bool:
        if self._lock is not None:
            return True
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return False
        lock = open(descriptor, "rb")  # noqa: SIM115 - held for as long as the chat
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return False
        self._lock = lock
        return True
