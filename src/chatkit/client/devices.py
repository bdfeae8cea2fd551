"""Where an account is logged in."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from chatkit.client.order import moment
from chatkit.protocol import accounts as acc


@frozen(kw_only=True)
class Device:
    """One login of an account. Times are aware, in UTC.

    ``id`` is for `Client.revoke`. ``label`` is what `connect` was given as the ``device``. ``current`` is the one that
    asks, ``online`` has a link now, ``api`` is a token made for a program.
    """

    id: str
    label: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime | None = None
    api: bool
    online: bool
    current: bool

    @classmethod
    def of(cls, told: acc.Device) -> Device:
        """Return what the server told."""
        return cls(
            id=told.id,
            label=told.label,
            created_at=moment(told.created_at),
            used_at=moment(told.used_at),
            expires_at=None if told.expires_at is None else moment(told.expires_at),
            api=told.api,
            online=told.online,
            current=told.current,
        )
