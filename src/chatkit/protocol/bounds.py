"""Bounds that a message's fields may state: ``Annotated[int, Between(1, 1000)]``."""

from __future__ import annotations

from typing import Annotated

from attrs import frozen


@frozen
class Between:
    """Bounds of a number, both inclusive, or of a text's length in UTF-8 bytes; checked when a message is decoded."""

    least: int
    most: int


Seq = Annotated[int, Between(0, 2**53 - 1)]
PageLimit = Annotated[int, Between(1, 1000)]
Op = Annotated[str, Between(1, 64)]
