"""The way in: whoever is at this machine picks a role, or Cognito says who it is.

Both end in a session (access.py). Cognito: authorization code flow with PKCE; Authlib holds
state, nonce, signature, issuer and audience of the token to what they must be.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import parse_qs, urlencode

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from joserfc.errors import JoseError

from components.web.access import Role, Visitor, check_token, log_in, needs, visitor_of
from components.web.errors import Away, BadInput, Forbidden
from components.web.pages import page
from components.web.settings import Settings

log = logging.getLogger(__name__)
_GROUPS = {"operator": Role.OPERATOR, "consumer": Role.CONSUMER}
_MOST_NAME = 60
_ANYBODY = [Depends(needs(Role.OUTSIDER))]


def router(settings: Settings) -> APIRouter:
    """Return the routes of the login that the settings name."""
    made = APIRouter(include_in_schema=False, dependencies=_ANYBODY)
    made.add_api_route("/login", show_login, methods=["GET"])
    if settings.login == "dev":
        made.add_api_route("/login", enter_dev, methods=["POST"])
        made.add_api_route("/logout", leave, methods=["POST"])
        return made
    pool = Pool(settings)
    made.add_api_route("/logout", pool.leave, methods=["POST"])
    made.add_api_route("/login/start", pool.start, methods=["GET"])
    made.add_api_route("/login/callback", pool.finish, methods=["GET"])
    return made


def show_login(request: Request, next: str = "/") -> Response:
    """The page that asks who it is."""
    if visitor_of(request).role is not Role.OUTSIDER:
        return RedirectResponse(_own_page(next), 303)
    return page(request, "login.html", next=_own_page(next))


async def enter_dev(request: Request) -> Response:
    """Let in whoever is at this machine."""
    form = await _form(request)
    check_token(request, form.get("csrf", ""))
    role = _GROUPS.get(form.get("role", ""))
    if role is None:
        raise BadInput("choose a role: consumer or operator")
    name = form.get("name", "").strip()[:_MOST_NAME] or form["role"]
    log_in(request.session, Visitor(name, role), request.app.state.clock())
    return RedirectResponse(_own_page(form.get("next", "/")), 303)


async def leave(request: Request) -> Response:
    """End the session in this browser."""
    form = await _form(request)
    check_token(request, form.get("csrf", ""))
    request.session.clear()
    return RedirectResponse("/login", 303)


class Pool:
    """A Cognito user pool with the groups consumer and operator."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        oauth = OAuth()
        oauth.register(
            "pool",
            client_id=settings.client_id,
            server_metadata_url=f"{settings.issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email",
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "none",
            },
        )
        self._client = oauth.create_client("pool")

    async def start(self, request: Request, next: str = "/") -> Response:
        """Send the browser to the pool's login."""
        request.session["next"] = _own_page(next)
        back = f"{self._settings.public_url.rstrip('/')}/login/callback"
        try:
            answer: Response = await self._client.authorize_redirect(request, back)
        except httpx2.HTTPError as err:
            raise Away("the login gives no answer now; try again in a minute") from err
        return answer

    async def finish(self, request: Request) -> Response:
        """Take what the pool says of the browser's user."""
        try:
            token = await self._client.authorize_access_token(request)
        except (OAuthError, JoseError) as err:
            log.warning("login: %s", err)
            raise Forbidden("the login was not finished; start it again") from err
        except httpx2.HTTPError as err:
            raise Away("the login gives no answer now; try again in a minute") from err
        visitor = _visitor(token.get("userinfo") or {})
        target = _own_page(request.session.get("next", "/"))
        log_in(request.session, visitor, request.app.state.clock())
        return RedirectResponse(target, 303)

    async def leave(self, request: Request) -> Response:
        """End the session here and lead to where the pool ends its own.

        Else whoever sits down next at this browser is logged in without a password. A page
        leads there, since no form of ours may lead to another site.
        """
        answer = await leave(request)
        try:
            metadata = await self._client.load_server_metadata()
        except httpx2.HTTPError as err:
            log.warning("logout: the pool gives no answer: %s", err)
            return answer
        if end := metadata.get("end_session_endpoint"):
            back = f"{self._settings.public_url.rstrip('/')}/login"
            query = urlencode({"client_id": self._settings.client_id, "logout_uri": back})
            return page(request, "logged_out.html", leave=f"{end}?{query}")
        return answer


def _visitor(claims: dict[str, Any]) -> Visitor:
    """Return whom a token describes.

    Raises:
        Forbidden: he is in no group of ours.
    """
    groups = claims.get("cognito:groups") or []
    role = max((_GROUPS[name] for name in groups if name in _GROUPS), default=Role.OUTSIDER)
    if role is Role.OUTSIDER:
        raise Forbidden("your account is in no group here; ask an operator to add it to one")
    return Visitor(str(claims.get("email") or claims.get("sub") or "")[:_MOST_NAME], role)


def _own_page(address: str) -> str:
    """Return an address of ours, "/" for any other: a login must not lead to another site."""
    is_ours = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if is_ours and address.isprintable() else "/"


async def _form(request: Request) -> dict[str, str]:
    body = (await request.body()).decode(errors="replace")
    return {name: values[0] for name, values in parse_qs(body).items()}
