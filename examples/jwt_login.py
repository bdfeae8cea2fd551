"""A chat for the people of another system: it signs a token (JWT) for each of them, and that token logs them in.

Needs PyJWT, and the key of both systems in JWT_KEY. ``jwt_login.py`` runs the server, ``jwt_login.py token ann`` prints
what the other system would hand to Ann.
"""

import contextlib
import os
import sys
import time

import jwt
import trio

import chatkit
from chatkit.engine import EngineLimits, Identity
from chatkit.protocol.messages import Login

KEY = os.environ["JWT_KEY"]
NEEDED = ["sub", "name", "exp", "aud"]
NOBODY_ELSE = chatkit.ServerConfig(engine=EngineLimits(guests="no", registration="closed"))


async def vouch(login: Login, address: str | None) -> Identity | None:
    """Vouch for whoever brings a token of the other system; leave everybody else to the usual ways."""
    if login.token is None or login.token.count(".") != 2:
        return None  # no JWT: a password, or the token this server gave them for coming back
    try:
        claims = jwt.decode(login.token, KEY, algorithms=["HS256"], audience="chat", options={"require": NEEDED})
    except jwt.InvalidTokenError as error:
        raise chatkit.RequestFailed("bad_credentials", f"this token is not good: {error}") from error
    return Identity(
        id=str(claims["sub"]),
        name=str(claims["name"]),
        role="admin" if claims.get("admin") is True else "member",
        expires_at=int(claims["exp"] * 1000),  # until then they come back without it
    )


def token(name: str) -> str:
    """What the other system does: sign who somebody is."""
    claims = {"sub": f"id of {name}", "name": name, "aud": "chat", "exp": time.time() + 3600}
    return jwt.encode(claims, KEY, algorithm="HS256")


async def main(*listen: str) -> None:
    url = listen or ("ws://127.0.0.1:8765",)
    async with chatkit.open_server("sqlite:///chat.db", listen=url, authenticator=vouch, config=NOBODY_ELSE) as server:
        print("listening on", *server.addresses, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        if sys.argv[1:2] == ["token"]:
            print(token(sys.argv[2]))
        else:
            trio.run(main, *sys.argv[1:])
