"""Messages about who one is: registering, passwords, devices, tokens. Facts only."""

from __future__ import annotations

from typing import Annotated

from attrs import field, frozen

from chatkit.protocol.bounds import Between
from chatkit.protocol.messages import LoggedIn, Nothing, Request

Password = Annotated[str, Between(1, 1024)]
NewPassword = Annotated[str, Between(8, 1024)]
Label = Annotated[str, Between(0, 128)]


@frozen(kw_only=True)
class Register(Request[LoggedIn]):
    """Open an account and log in with it, before any other login. ``invitation`` is a code, where one is needed."""

    action = "register"
    user: str
    password: NewPassword = field(repr=False)
    invitation: str | None = field(default=None, repr=False)
    device: Label | None = None


@frozen(kw_only=True)
class ChangePassword(Request[Nothing]):
    """Change one's password; every other device is logged out. Tokens for programs stay good, unless
    ``revoke_tokens``."""

    action = "change_password"
    password: Password = field(repr=False)
    new_password: NewPassword = field(repr=False)
    revoke_tokens: bool | None = None


@frozen(kw_only=True)
class Device:
    """One login of an account. Times in milliseconds since 1970; ``current`` is the one that asks, ``online`` has a
    link now, ``api`` is a token made for a program."""

    id: str
    label: str
    created_at: int
    used_at: int
    expires_at: int | None = None
    api: bool
    online: bool
    current: bool


@frozen(kw_only=True)
class Devices:
    """Where an account is logged in."""

    sessions: tuple[Device, ...]


@frozen(kw_only=True)
class Sessions(Request[Devices]):
    """List where one's account is logged in."""

    action = "sessions"


@frozen(kw_only=True)
class Revoke(Request[Nothing]):
    """Log a device out, by its id; without one, every device but this."""

    action = "revoke"
    session: str | None = None


@frozen(kw_only=True)
class ApiToken:
    """A token for a program, shown this once."""

    id: str
    token: str = field(repr=False)


@frozen(kw_only=True)
class CreateToken(Request[ApiToken]):
    """Make a token with which a program logs in as this account. ``role`` ``bot`` marks it as a bot; ``seconds``
    bounds its life."""

    action = "create_token"
    label: Label
    role: str | None = None
    seconds: Annotated[int, Between(1, 2**31)] | None = None


@frozen(kw_only=True)
class Logout(Request[Nothing]):
    """Give up this login: its token is worth nothing any more, and the link is closed."""

    action = "logout"
