"""Whom an act is about: a name, and who that is."""

from __future__ import annotations

from attrs import frozen

from chatkit.engine.permissions import Standing, above
from chatkit.engine.refusal import No
from chatkit.engine.state import GUEST, Room, SessionState
from chatkit.engine.world import World
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.names import check_name, name_key


@frozen(kw_only=True)
class Target:
    """Somebody named in a request. ``principal`` is None for a guest who is not here: then only the name is known."""

    name: str
    key: str
    principal: str | None
    role: str
    author: str


def target(world: World, name: str) -> Target:
    """Return who has a name: an account, a guest who is here, or whoever may come under it. Raises `ProtocolError`
    (``bad_name``)."""
    shown, key = check_name(name), name_key(name)
    account = world.accounts_by_key.get(key)
    if account is not None:
        return Target(name=account.name, key=key, principal=account.id, role=account.role, author=account.id)
    user = world.users.get(key)
    if user is not None:
        return Target(name=user.name, key=key, principal=user.principal, role=user.role, author=user.author)
    return Target(name=shown, key=key, principal=None, role=GUEST, author=key)


def writer(world: World, author: str, name: str) -> Target:
    """Return who wrote under a stable id, as far as that is known; ``name`` is what they were called."""
    account = world.accounts.get(author)
    if account is not None:
        return Target(name=account.name, key=account.key, principal=account.id, role=account.role, author=author)
    here = next((user for user in world.users.values() if user.author == author), None)
    if here is not None:
        return Target(name=here.name, key=here.key, principal=here.principal, role=here.role, author=author)
    return Target(name=name, key=author, principal=None, role=GUEST, author=author)


def standing_of(world: World, room: Room, whom: Target, now: int) -> Standing:
    """Return what somebody named is in a room."""
    return world.standing(room, whom.principal or "", whom.key, whom.role, now)


def require_above(world: World, state: SessionState, room: Room, whom: Target, now: int) -> None:
    """Raise `No` (``forbidden``) if the one who asks does not stand above whom they would act on."""
    if not above(world.standing_of(state, room, now), standing_of(world, room, whom, now)):
        raise No(ErrorCode.FORBIDDEN, f"{whom.name} has as much to say in {room.name!r} as you")


def require_principal(whom: Target) -> str:
    """Return the id rights are tied to. Raises `No` (``no_such_user``) where only a name is known."""
    if whom.principal is None:
        raise No(ErrorCode.NO_SUCH_USER, f"there is no account {whom.name!r}, and no guest of that name is here")
    return whom.principal


def name_of(world: World, principal: str) -> str:
    """Return what somebody is called, as far as that is known."""
    account = world.accounts.get(principal)
    here = world.here(principal)
    return account.name if account else here[0].name if here else "a guest"
