"""How a start that the kit foresaw to fail is told: in one line."""

import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from starterkit.errors import KitError


class PlainStart:
    """An ASGI middleware. Starlette hands the server a traceback of whatever stops the start."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_plainly(message: Message) -> None:
            error = sys.exc_info()[1]
            if message["type"] == "lifespan.startup.failed" and isinstance(error, KitError):
                message = {**message, "message": str(error)}
            await send(message)

        await self._app(scope, receive, send_plainly if scope["type"] == "lifespan" else send)
