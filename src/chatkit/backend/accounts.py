"""Who may come in, and who may not: the records a backend keeps besides rooms. Plain facts, no behaviour.

Each type of record has a ``KIND``, its name in the store, an ``id``, unique within the kind, and a ``unique`` key or
None: of two records of a kind only one may hold a key. Times are in milliseconds since 1970, UTC.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from attrs import field, frozen

TokenKind: TypeAlias = Literal["session", "api"]
BanKind: TypeAlias = Literal["account", "name", "address"]


@frozen(kw_only=True)
class Account:
    """Somebody who can come back. ``key`` is the case-mapped name, unique among accounts.

    ``password`` is an argon2id hash in its usual text form (it says its own salt and cost), None if there is no way
    in by password. ``role`` is that on the server; rooms have their own, in `Member`.
    """

    KIND: ClassVar[str] = "account"

    id: str
    name: str
    key: str
    password: str | None = field(default=None, repr=False)
    role: str = "member"
    disabled: bool = False
    created_at: int = 0

    @property
    def unique(self) -> str:
        """The key no other account may hold."""
        return self.key


@frozen(kw_only=True)
class TokenRecord:
    """A secret that stands for an account: a ``session`` after a login, or ``api`` for a program.

    ``digest`` is a hash of the secret, unique among tokens; the secret itself is kept nowhere. ``previous`` is that of
    the secret it took the place of, which still counts until the new one has been used: the answer that carried it may
    have been lost. ``label`` is what its owner calls it, ``role`` limits it to less than the account's own.
    ``expires_at`` None: never; a ``bounded`` one is not put off by use.
    """

    KIND: ClassVar[str] = "token"

    id: str
    account_id: str
    digest: str
    previous: str | None = None
    kind: TokenKind = "session"
    label: str = ""
    role: str | None = None
    created_at: int = 0
    used_at: int = 0
    expires_at: int | None = None
    bounded: bool = False

    @property
    def unique(self) -> str:
        """The digest no other token may have."""
        return self.digest


@frozen(kw_only=True)
class Ban:
    """Who is kept out: of one room, or with ``room_id`` None of the server. Goes with its room.

    ``value`` is an account's id, a case-mapped name or an address (or network), as ``kind`` says; ``by`` the id of who
    did it, ``at`` when, ``until`` its end, None if it has none. A ``mute`` only silences.
    """

    KIND: ClassVar[str] = "ban"

    id: str
    room_id: str | None = None
    kind: BanKind
    value: str
    by: str
    reason: str = ""
    at: int = 0
    until: int | None = None
    mute: bool = False

    @property
    def unique(self) -> None:
        """Nothing: the same may be banned twice."""
        return


@frozen(kw_only=True)
class Invitation:
    """A secret that lets ``uses`` more people make an account with a ``role``.

    ``digest`` is a hash of the secret, unique among invitations; ``by`` the id of who invites. ``expires_at`` None:
    never.
    """

    KIND: ClassVar[str] = "invitation"

    id: str
    digest: str
    by: str
    role: str = "member"
    uses: int = 1
    created_at: int = 0
    expires_at: int | None = None

    @property
    def unique(self) -> str:
        """The digest no other invitation may have."""
        return self.digest


Record: TypeAlias = Account | TokenRecord | Ban | Invitation
RECORDS: tuple[type[Record], ...] = (Account, TokenRecord, Ban, Invitation)
"""The types of records there are."""
