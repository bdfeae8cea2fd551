"""The commands about secrets, and what was done: tokens, invitations, the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from chatkit.backend.records import Invitation, TokenRecord
from chatkit.errors import UsageError
from chatkit.frontends.options import Json, Parameter, validators
from chatkit.frontends.user.desk import Config, Name, Store, at_store, moment, print_json, print_table, tell
from chatkit.protocol.moderation import AuditEntry
from chatkit.protocol.times import to_wire
from chatkit.server import acts
from chatkit.server.operator import Operator

SHOWN_ID = 8
"""Characters of an id that are shown; so many are enough to name it by."""


def tokens(
    name: Name,
    /,
    *,
    create: Annotated[
        str | None, Parameter(name="--create", help="Make a token for a program, under this label.", show_default=False)
    ] = None,
    role: Annotated[
        str | None, Parameter(name="--role", help="What the new one allows: bot, member or admin.", show_default=False)
    ] = None,
    days: Annotated[
        int | None, Parameter(name="--days", help="How long the new one is good; else for good.", show_default=False)
    ] = None,
    revoke: Annotated[
        str | None, Parameter(name="--revoke", help="Take one away, by (the beginning of) its id.", show_default=False)
    ] = None,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """List where an account is logged in and its tokens; make or revoke one.

    A new token is printed alone on its line, this once. Only a hash of it is kept.

    ```
    chatkit user tokens robot
    chatkit user tokens robot --create home --role bot --days 90 > token
    chatkit user tokens robot --revoke 3f2a
    ```
    """
    if create is not None and revoke is not None:
        raise UsageError("--create and --revoke: one after the other")
    if create is None and (role is not None or days is not None):
        raise UsageError("--role and --days belong to --create LABEL")

    async def work(operator: Operator) -> None:
        if create is not None:
            secret = operator.new_token()
            made = await operator.do(acts.create_token(name, secret, create, role=role, days=days))
            end = moment(made.expires_at, "for good")
            said = f"token {made.id[:SHOWN_ID]} for {name!r} ({made.role}, until {end}), shown this once:"
            tell(said.replace("until for", "for"), {**_token(made), "token": secret}, json=json, secret=secret)
        elif revoke is not None:
            gone = await operator.do(acts.revoke(name, revoke))
            tell(f"{gone.label or gone.id[:SHOWN_ID]!r} is worth nothing any more", _token(gone), json=json)
        else:
            _list_tokens(operator.person(name).tokens, json)

    return at_store(store, config, work)


def _list_tokens(held: tuple[TokenRecord, ...], json: bool) -> None:
    if json:
        print_json(map(_token, held))
        return
    rows = [
        (
            one.id[:SHOWN_ID],
            "token" if one.kind == "api" else "login",
            one.label,
            one.role or "",
            moment(one.created_at),
            moment(one.used_at),
            moment(one.expires_at),
        )
        for one in held
    ]
    print_table(("id", "what", "label", "role", "since", "last used", "ends"), rows)


def _token(one: TokenRecord) -> dict[str, Any]:
    return {
        "id": one.id,
        "kind": one.kind,
        "label": one.label,
        "role": one.role,
        "created": to_wire(one.created_at),
        "used": to_wire(one.used_at),
        "expires": None if one.expires_at is None else to_wire(one.expires_at),
    }


def invite(
    *,
    role: Annotated[str, Parameter(name="--role", help="What they will be: member, bot or admin.")] = "member",
    uses: Annotated[int, Parameter(name="--uses", help="How many people it is for.")] = 1,
    days: Annotated[int, Parameter(name="--days", help="How long it is good.")] = 7,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Make a code with which people can register, also where registration is by invitation.

    The code is printed alone on its line, this once.

    ```
    chatkit user invite
    chatkit user invite --uses 30 --days 1
    ```
    """

    async def work(operator: Operator) -> None:
        secret = operator.new_invitation()
        made = await operator.do(acts.invite(secret, role, uses=uses, days=days))
        people = "one person" if uses == 1 else f"{uses} people"
        said = f"invitation {made.id[:SHOWN_ID]} for {people} as {role}, until {moment(made.expires_at)}:"
        tell(said, {**_invitation(made), "invitation": secret}, json=json, secret=secret)

    return at_store(store, config, work, make=True)


def invitations(
    *,
    withdraw: Annotated[
        str | None,
        Parameter(name="--withdraw", help="Take one back, by (the beginning of) its id.", show_default=False),
    ] = None,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """List the invitations that are good, or take one back.

    ```
    chatkit user invitations
    chatkit user invitations --withdraw 3f2a
    ```
    """

    async def work(operator: Operator) -> None:
        if withdraw is not None:
            gone = await operator.do(acts.withdraw(withdraw))
            tell(f"invitation {gone.id[:SHOWN_ID]} is worth nothing any more", _invitation(gone), json=json)
        elif json:
            print_json(map(_invitation, operator.invitations()))
        else:
            rows = [
                (one.id[:SHOWN_ID], one.role, str(one.uses), moment(one.created_at), moment(one.expires_at))
                for one in operator.invitations()
            ]
            print_table(("id", "role", "uses left", "since", "ends"), rows)

    return at_store(store, config, work)


def _invitation(one: Invitation) -> dict[str, Any]:
    return {
        "id": one.id,
        "role": one.role,
        "uses": one.uses,
        "created": to_wire(one.created_at),
        "expires": None if one.expires_at is None else to_wire(one.expires_at),
    }


def audit(
    *,
    limit: Annotated[
        int,
        Parameter(name=["--limit", "-n"], validator=validators.Number(gte=1, lte=10_000), help="How many at most."),
    ] = 50,
    store: Store = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Show what moderators and operators did, the latest first.

    ```
    chatkit user audit -n 20
    ```
    """

    async def work(operator: Operator) -> None:
        entries = await operator.audit(limit)
        if json:
            print_json(map(_entry, entries))
        else:
            rows = [
                (moment(one.at), one.by, one.act, one.whom, one.room or "", one.reason, _details(one))
                for one in entries
            ]
            print_table(("when", "who", "what", "whom", "room", "why", ""), rows)

    return at_store(store, config, work)


def _details(one: AuditEntry) -> str:
    return ", ".join(f"{key} {value}" for key, value in one.details.items() if value is not None)


def _entry(one: AuditEntry) -> dict[str, Any]:
    return {
        "seq": one.seq,
        "at": to_wire(one.at),
        "by": one.by,
        "act": one.act,
        "whom": one.whom,
        "room": one.room,
        "reason": one.reason,
        "details": dict(one.details),
    }
