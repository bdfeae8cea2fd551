"""What a client says to come in, and what it keeps to be the same person again.

Laws: a password is said once, afterwards only the newest token; nobody registers twice; each login has a number, so
that one which arrives late is known to be old.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from attrs import evolve

from chatkit.client.state import ClientState
from chatkit.errors import UsageError
from chatkit.protocol import accounts as acc
from chatkit.protocol import messages as m


class Entrance:
    """The words of coming in. ``on_token`` is called with every new token of an account, and must not raise. ``run`` is
    a random word for this run of the client, with which it numbers its logins."""

    def __init__(
        self, login: m.Login, registration: acc.Register | None, on_token: Callable[[str], object], run: str
    ) -> None:
        self.login = login
        self.run = run
        self._numbers = itertools.count(1)
        self._registration = registration
        self._on_token = on_token

    def words(self, state: ClientState) -> m.Login | acc.Register:
        """Return what to say now: to come in for the first time, or to go on from where the state is."""
        if self._registration is not None:
            return self._registration
        attempt = m.Attempt(client=self.run, number=next(self._numbers))
        if not state.user:
            return evolve(self.login, attempt=attempt)
        resume = {room.name: room.position for room in state.joined}
        return evolve(self.login, user=state.user, resume=resume, attempt=attempt)

    def let_in(self, reply: m.LoggedIn, *, role: str) -> None:
        """Take in that the server let one in, and as what."""
        self._registration = None
        self.login = evolve(self.login, user=reply.user, password=None)
        self.take_token(reply.token, role=role)

    def take_token(self, token: str, *, role: str) -> None:
        """Keep another token, or none if it is empty, and tell of it; a guest's is not told."""
        if token != self.login.token:
            self.login = evolve(self.login, token=token or None)
            if role != "guest":
                self._on_token(token)


def registration_of(login: m.Login, invitation: str | None) -> acc.Register:
    """Return what opens the account of a login. Raises `UsageError` if it has no password, or a token."""
    if login.password is None or login.token is not None:
        raise UsageError("to register takes a password, and no token")
    return acc.Register(user=login.user, password=login.password, invitation=invitation, device=login.device)
