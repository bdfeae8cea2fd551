"""What a server answers over HTTP on the WebSocket's port: its page, its health, its connections, its metrics."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import attrs

from chatkit.errors import MissingExtra

try:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import BaseRoute, Mount, Route
    from starlette.staticfiles import StaticFiles
except ImportError as error:
    raise MissingExtra("HTTP on the WebSocket's port", "server") from error

from chatkit.server.web.metrics import CONTENT_TYPE, render_metrics

if TYPE_CHECKING:
    from chatkit.server.server import Server

STATIC = files("chatkit.server.web") / "static"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load: nothing but its own files, and any chat server it is pointed at."""
SAFE_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
}


def make_app(server: Server, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application; an embedding program's ``routes`` come first."""

    async def page(_: Request) -> Response:
        return FileResponse(str(STATIC / "page.html"), headers={"content-security-policy": PAGE_POLICY})

    async def health(_: Request) -> Response:
        ready = server.statistics().ready
        return JSONResponse({"live": True, "ready": ready}, status_code=200 if ready else 503)

    async def connections(request: Request) -> Response:
        return _for_operator(server, request, lambda: JSONResponse([attrs.asdict(i) for i in server.connections()]))

    async def metrics(request: Request) -> Response:
        return _for_operator(
            server, request, lambda: Response(render_metrics(server), media_type=CONTENT_TYPE), open_by_default=True
        )

    return Starlette(
        routes=[
            *routes,
            Route("/", page, methods=["GET"]),
            Route("/healthz", health, methods=["GET"]),
            Route("/connections", connections, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            Mount("/static", StaticFiles(directory=str(STATIC))),
        ],
        middleware=[Middleware(_SafeHeaders)],
    )


def _for_operator(server: Server, request: Request, answer: Any, *, open_by_default: bool = False) -> Response:
    token = server.config.operator_token
    if token is None:
        if open_by_default:
            return answer()  # type: ignore[no-any-return]
        return PlainTextResponse("no operator token is configured\n", status_code=404)
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        return PlainTextResponse("operators only\n", status_code=401, headers={"www-authenticate": "Bearer"})
    return answer()  # type: ignore[no-any-return]


class _SafeHeaders:
    """Adds the headers every response should have."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_safely(message: Any) -> None:
            if message["type"] == "http.response.start":
                have = {bytes(name).lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in SAFE_HEADERS.items() if name not in have),
                ]
            await send(message)

        await self._app(scope, receive, send_safely)
