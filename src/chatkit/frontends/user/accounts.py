"""The commands about accounts: who there is, new ones, passwords, roles, and their end."""

from __future__ import annotations

from typing import Annotated, Any

from chatkit.errors import UsageError
from chatkit.frontends.options import Json, Parameter
from chatkit.frontends.user.desk import (
    Config,
    Generate,
    Name,
    NoPassword,
    PasswordFile,
    Store,
    at_store,
    confirmed,
    moment,
    new_password,
    print_json,
    print_table,
    tell,
    warn,
)
from chatkit.protocol.times import to_wire
from chatkit.server import acts
from chatkit.server.operator import Operator, Person
from chatkit.server.passwords import Passwords


def list_accounts(*, store: Store = None, config: Config = None, json: Json = False) -> int:
    """List the accounts.

    ```
    chatkit user list
    chatkit user list --json | jq -r 'select(.role == "admin").user'
    ```
    """

    async def work(operator: Operator) -> None:
        people = operator.people()
        if json:
            print_json(map(_record, people))
            return
        print_table(
            ("name", "role", "state", "logins", "tokens", "last used", "since"),
            [
                (
                    person.account.name,
                    person.account.role,
                    _state(person),
                    str(len(person.tokens) - _api(person)),
                    str(_api(person)),
                    moment(person.used_at),
                    moment(person.account.created_at or None, "?"),
                )
                for person in people
            ],
        )
        if not operator.admins():
            warn("no account is admin: chatkit user add NAME --role admin")

    return at_store(store, config, work)


def show(name: Name, /, *, store: Store = None, config: Config = None, json: Json = False) -> int:
    """Show an account: its role, its rooms, where it is logged in.

    ```
    chatkit user show ann
    ```
    """

    async def work(operator: Operator) -> None:
        person = operator.person(name)
        if json:
            print_json([_record(person)])
            return
        account = person.account
        rows = [
            ("name", account.name),
            ("role", account.role),
            ("state", _state(person)),
            ("password", "set" if account.password else "none: by token only"),
            ("since", moment(account.created_at or None, "?")),
            ("last used", moment(person.used_at)),
            ("rooms", ", ".join(f"{room} ({role})" for room, role in person.rooms.items()) or "none of its own"),
            ("banned", ", ".join(f"in {room}" if room else "from the server" for room in person.banned) or "no"),
            ("logins", f"{len(person.tokens) - _api(person)}, and {_api(person)} tokens: chatkit user tokens {name}"),
        ]
        print_table(("", ""), rows)

    return at_store(store, config, work)


def add(
    name: Name,
    /,
    *,
    role: Annotated[str, Parameter(name="--role", help="member, bot or admin.")] = "member",
    password_file: PasswordFile = None,
    generate: Generate = False,
    no_password: NoPassword = False,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Open an account; the first admin is made like this.

    Asks for a password, which is never part of a command line: others on this machine can read those.

    ```
    chatkit user add ann --role admin
    chatkit user add bob --generate
    chatkit user add robot --role bot --no-password
    pass show chat/ann | chatkit user add ann --password-file -
    ```
    """
    acts.check_role(role)

    async def work(operator: Operator) -> None:
        operator.check_new_name(name)
        password = new_password(password_file, generate, no_password)
        kept = None if password is None else await Passwords().hash(password)
        account = await operator.do(acts.add_account(name, role, kept))
        made = password if generate else None
        record = {"user": account.name, "role": account.role, **({"password": made} if made else {})}
        shown = "; its password, shown this once:" if made else ""
        tell(f"account {account.name!r} added: {account.role}{shown}", record, json=json, secret=made)

    return at_store(store, config, work, make=True)


def passwd(
    name: Name,
    /,
    *,
    password_file: PasswordFile = None,
    generate: Generate = False,
    no_password: NoPassword = False,
    keep_tokens: Annotated[
        bool, Parameter(name="--keep-tokens", negative="", help="Leave the tokens of its programs good.")
    ] = False,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Give an account another password, and log it out everywhere.

    What its programs have tokens for is logged out too, unless --keep-tokens. Whoever changes their own password, by
    /password in a chat, keeps those tokens unless they say /password tokens.

    ```
    chatkit user passwd ann
    chatkit user passwd bob --generate --keep-tokens
    ```
    """

    async def work(operator: Operator) -> None:
        operator.person(name)
        password = new_password(password_file, generate, no_password)
        kept = None if password is None else await Passwords().hash(password)
        await operator.reload()  # it may have taken a while to type
        held = _api(operator.person(name))
        account = await operator.do(acts.set_password(name, kept, keep_tokens=keep_tokens))
        made = password if generate else None
        record = {"user": account.name, **({"password": made} if made else {})}
        what = "has no password any more" if password is None else "has another password"
        shown = ", shown this once:" if made else ""
        everywhere = f"is logged out everywhere{_of_tokens(held, keep_tokens)}"
        tell(f"{account.name!r} {what} and {everywhere}{shown}", record, json=json, secret=made)

    return at_store(store, config, work)


def _of_tokens(held: int, kept: bool) -> str:
    if not held:
        return ""
    whose, one = ("a program's token", "s") if held == 1 else (f"{held} programs' tokens", "")
    end = f"stay{one} good" if kept else f"{'is' if one else 'are'} worth nothing any more"
    return f"; {whose} {end}"


def role(
    name: Name,
    role: Annotated[str, Parameter(help="member, bot or admin.", show_default=False)],
    /,
    *,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Give an account another role on the server; one that is less ends its sessions.

    ```
    chatkit user role bob admin
    ```
    """
    return _change(acts.set_server_role(name, role), f"is {role}", store, config, json)


def disable(name: Name, /, *, store: Store = None, config: Config = None, json: Json = False) -> int:
    """Let nobody log in to an account; its sessions end, its tokens are worth nothing any more.

    ```
    chatkit user disable troll
    ```
    """
    return _change(acts.disable(name), "is disabled and logged out everywhere", store, config, json)


def enable(name: Name, /, *, store: Store = None, config: Config = None, json: Json = False) -> int:
    """Let an account in again that was disabled.

    ```
    chatkit user enable ann
    ```
    """
    return _change(acts.enable(name), "may log in", store, config, json)


def remove(
    name: Name,
    /,
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")] = False,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Remove an account for good; what it said stays, its name is free.

    ```
    chatkit user remove bob --yes
    ```
    """

    async def work(operator: Operator) -> None:
        person = operator.person(name)
        if not yes and not confirmed(f"Remove the account {person.account.name!r} for good?"):
            raise UsageError("nothing was removed")
        account = await operator.do(acts.remove(name))
        tell(f"{account.name!r} is gone, and the name is free", {"user": account.name}, json=json)
        _look_for_admins(operator)

    return at_store(store, config, work)


def _change(act: acts.AccountAct, sentence: str, store: Store, config: Config, json: bool) -> int:
    async def work(operator: Operator) -> None:
        account = await operator.do(act)
        record = {"user": account.name, "role": account.role, "disabled": account.disabled}
        tell(f"{account.name!r} {sentence}", record, json=json)
        _look_for_admins(operator)

    return at_store(store, config, work)


def _look_for_admins(operator: Operator) -> None:
    if not operator.admins():
        warn("no account is admin now: chatkit user role NAME admin, or chatkit user add NAME --role admin")


def _api(person: Person) -> int:
    return sum(token.kind == "api" for token in person.tokens)


def _state(person: Person) -> str:
    return "disabled" if person.account.disabled else "banned" if None in person.banned else "good"


def _record(person: Person) -> dict[str, Any]:
    account = person.account
    return {
        "user": account.name,
        "id": account.id,
        "role": account.role,
        "disabled": account.disabled,
        "password": account.password is not None,
        "created": to_wire(account.created_at),
        "used": None if person.used_at is None else to_wire(person.used_at),
        "logins": len(person.tokens) - _api(person),
        "tokens": _api(person),
        "rooms": dict(person.rooms),
        "banned": list(person.banned),
    }
