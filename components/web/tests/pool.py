"""A user pool on loopback that speaks OpenID Connect as Cognito does, and lies when told to."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT = "client-of-the-pages"


@cache
def signing_key(number: int = 1) -> RSAKey:
    """Return a key of a pool; another number, another key."""
    del number
    return RSAKey.generate_key(2048, {"kid": "1"})


@dataclass
class Pool:
    """The pool. claims: in place of what is true of the user; key: signs tokens."""

    address: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ("consumer",)
    key: RSAKey = field(default_factory=signing_key)
    shown_key: RSAKey | None = None
    asked: dict[str, str] = field(default_factory=dict)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.describe),
                Route("/keys", self.keys),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
            ]
        )

    async def describe(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.address,
                "authorization_endpoint": f"{self.address}/authorize",
                "token_endpoint": f"{self.address}/token",
                "jwks_uri": f"{self.address}/keys",
                "end_session_endpoint": f"{self.address}/logout",
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def keys(self, _request: Request) -> Response:
        shown = self.shown_key or self.key
        return JSONResponse({"keys": [shown.as_dict(private=False)]})

    async def authorize(self, request: Request) -> Response:
        """Send everybody back at once, as if he had given his password."""
        self.asked = dict(request.query_params)
        back = urlencode({"code": "once", "state": self.asked["state"]})
        return RedirectResponse(f"{self.asked['redirect_uri']}?{back}")

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if form["code"] != "once" or challenge != self.asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.address,
            "aud": CLIENT,
            "sub": "user-1",
            "email": "ada@example.com",
            "cognito:groups": list(self.groups),
            "nonce": self.asked["nonce"],
            "iat": now,
            "exp": now + 600,
        }
        token = jwt.encode({"alg": "RS256", "kid": "1"}, claims | self.claims, self.key)
        return JSONResponse({"id_token": token, "token_type": "Bearer", "access_token": "opaque"})


@contextmanager
def running_pool() -> Iterator[Pool]:
    """Serve a pool until the block ends."""
    import socket

    pool = Pool()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        pool.address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(pool.app(), log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield pool
        finally:
            server.should_exit = True
            thread.join()
