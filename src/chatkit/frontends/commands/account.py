"""Commands about oneself: one's name, account, devices and tokens."""

from __future__ import annotations

from collections.abc import Sequence

from chatkit.client import Device
from chatkit.errors import RequestFailed, UsageError
from chatkit.frontends.commands.command import Command, May, Needs
from chatkit.frontends.commands.conversation import Conversation, Registration
from chatkit.frontends.commands.words import term_typed, when

LOGGED_OUT = "you are logged out here"
ROLES = ("bot", "member", "admin")
TOKENS = "tokens"
"""Behind /password: programs are logged out too."""


async def _whoami(conversation: Conversation, _: str) -> Sequence[str]:
    client = conversation.client
    own = client.state.role_in(conversation.current)
    here = f", {own} of {conversation.current}" if own in ("owner", "moderator") else ""
    room = client.state.rooms.get(conversation.current)
    muted = ", and may not speak there" if room is not None and room.muted is not None else ""
    kind = "a guest" if client.role == "guest" else f"logged in to an account, as {client.role}"
    return (f"you are {client.user}, {kind}{here}{muted}",)


async def _username(conversation: Conversation, argument: str) -> Sequence[str]:
    await conversation.client.rename(argument)
    return (f"you are {conversation.client.user} now",)


async def _register(conversation: Conversation, argument: str) -> Sequence[str]:
    client = conversation.client
    if client.role != "guest":
        raise UsageError(f"you have an account already: {client.user}")
    if not {"register", "invitation"}.intersection(client.hello.auth):
        raise UsageError("this server takes no new accounts")
    if "register" not in client.hello.auth and not argument:
        raise UsageError("this server takes new accounts by invitation: /register CODE")
    password = await conversation.new_secret()
    conversation.registering = Registration(user=client.user, password=password, invitation=argument or None)
    return ()


async def _password(conversation: Conversation, argument: str) -> Sequence[str]:
    if argument.lower() not in ("", TOKENS):
        raise UsageError(f"/password or /password {TOKENS}; the passwords are asked for")
    old = await conversation.secret("present password: ")
    new = await conversation.new_secret()
    await conversation.client.change_password(old, new, revoke_tokens=bool(argument))
    changed = "your password is changed, and every other device is logged out"
    if argument:
        return (f"{changed}, and so is every program",)
    return (changed, *_tokens_left(await conversation.client.sessions()))


def _tokens_left(devices: Sequence[Device]) -> Sequence[str]:
    left = sum(device.api for device in devices)
    if not left:
        return ()
    what, them = ("one program's token stays", "it") if left == 1 else (f"{left} programs' tokens stay", "them")
    return (f"{what} good: /sessions shows {them}, /revoke ID or /password {TOKENS} takes {them} away",)


async def _logout(conversation: Conversation, _: str) -> Sequence[str]:
    conversation.over, conversation.farewell = True, LOGGED_OUT  # before: the link may end before the answer comes
    try:
        await conversation.client.logout()
    except RequestFailed:
        conversation.over, conversation.farewell = False, ""
        raise
    return ()


async def _sessions(conversation: Conversation, _: str) -> Sequence[str]:
    return tuple(_device_line(device) for device in await conversation.client.sessions())


def _device_line(device: Device) -> str:
    marks = [
        "this one" if device.current else "online" if device.online else "",
        "a program's token" if device.api else "",
        f"until {when(device.expires_at)}" if device.expires_at is not None else "",
    ]
    rest = ", ".join(mark for mark in marks if mark)
    return f"{device.id}  {device.label or '(no name)'}, used {when(device.used_at)}" + (f" ({rest})" if rest else "")


async def _revoke(conversation: Conversation, argument: str) -> Sequence[str]:
    others = argument.lower() == "others"
    await conversation.client.revoke(None if others else argument)
    return ("every other device is logged out" if others else f"{argument} is logged out",)


async def _token(conversation: Conversation, argument: str) -> Sequence[str]:
    label, *words = argument.split()
    role = words.pop(0) if words and words[0] in ROLES else None
    life = term_typed(words.pop(0)) if words else None
    if words:
        raise UsageError(f"{words[0]!r} is too much: /token LABEL [{'|'.join(ROLES)}] [TERM]")
    made = await conversation.client.create_token(label, role=role, life=life)
    return (f"token {made.id}, shown this once: {made.token}",)


ACCOUNT = (
    Command("whoami", "", "say who you are here", _whoami, needs=Needs.NOTHING),
    Command("username", "NAME", "take another name", _username),
    Command(
        "register",
        "[INVITATION]",
        "make your name an account; a password is asked for",
        _register,
        May.GUEST,
        Needs.PASSWORD,
    ),
    Command(
        "password",
        f"[{TOKENS}]",
        f"change your password; with {TOKENS} your programs are logged out too",
        _password,
        May.ACCOUNT,
        Needs.PASSWORD,
    ),
    Command("sessions", "", "list where you are logged in", _sessions, May.ACCOUNT),
    Command("revoke", "ID|others", "log a device out, or every other one", _revoke, May.ACCOUNT),
    Command("token", "LABEL [bot|member|admin] [TERM]", "make a token for a program", _token, May.ACCOUNT),
    Command("logout", "", "log this device out, and quit", _logout, May.ACCOUNT),
)
