"""`page_routes`: at `/`, a page for people. A program gets in JSON where everything is.

The page is one file that loads nothing. It asks /model and /predict as any client does, with the key that is typed into
it, so that by itself it says nothing of the model.
"""

import hashlib
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from starterkit.serving.http.answers import answer, identity
from starterkit.serving.http.keys import Keys
from starterkit.serving.predictor import ServedModel

_FILE = Path(__file__).with_name("page.html")
_PLACES = {
    "predict": "/predict",
    "about": "/model",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "health": "/health/ready",
    "metrics": "/metrics",
}
_ELSEWHERE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_OF_OTHER_PAGES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    f"img-src 'self' data:; worker-src blob:; {_ELSEWHERE}"
)
"""Of /docs and /redoc, whose scripts FastAPI writes into the page; each has the model's title, escaped."""


def page_routes(served: ServedModel, keys: Keys) -> APIRouter:
    """What stands at `/`."""
    router = APIRouter(include_in_schema=False)
    page = _FILE.read_bytes()
    for_people = {"Content-Security-Policy": policy(page), "Vary": "Accept"}

    @router.get("/")
    @router.head("/")
    async def root(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return Response(page, headers=for_people, media_type="text/html")
        model = {"model": identity(served)} if keys.fit(dict(request.headers.raw)) else {}
        return answer({**model, **_PLACES}, headers={"Vary": "Accept"})

    return router


def policy(page: bytes) -> str:
    """A policy by which a browser runs the page's own script, and asks this server alone."""
    allowed = {
        kind: " ".join(f"'sha256-{b64encode(hashlib.sha256(text).digest()).decode()}'" for text in texts)
        for kind, texts in ((kind, re.findall(b"(?s)<%b>(.*?)</%b>" % (tag, tag), page)) for kind, tag in _OWN)
    }
    own = "; ".join(f"{kind} {hashes}" for kind, hashes in allowed.items())
    return f"default-src 'none'; connect-src 'self'; img-src data:; {own}; {_ELSEWHERE}"


_OWN = (("script-src", b"script"), ("style-src", b"style"))


class Pages:
    """Sees that each page of an app has a policy."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                said = dict(message["headers"])
                if said.get(b"content-type", b"").startswith(b"text/html") and _POLICY not in said:
                    message["headers"] = [*message["headers"], (_POLICY, _OF_OTHER_PAGES.encode())]
            await send(message)

        await self._app(scope, receive, with_policy)


_POLICY = b"content-security-policy"
