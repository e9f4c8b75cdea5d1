"""Who comes, what he may do, and whether it is he who asks: one dependency of every route.

    router = APIRouter(dependencies=[Depends(needs(Role.OPERATOR))])

A session is a signed cookie that nobody can change and everybody who has it can read: name,
role, when it began, and the token that a page must send back with every change (CSRF).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import MutableMapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from fastapi import Request

from components.web.errors import Forbidden, NotLoggedIn

CSRF_HEADER = "x-csrf-token"
_SAFE = ("GET", "HEAD", "OPTIONS")
_FROM_HERE = ("same-origin", "none", "")  # none: typed or from a bookmark; "": an old browser
_HOUR_S = 3600.0
Session = MutableMapping[str, Any]


class Role(IntEnum):
    """What somebody may do; a larger role may do what a smaller one may."""

    OUTSIDER = 0
    CONSUMER = 1
    OPERATOR = 2


@dataclass(frozen=True)
class Visitor:
    """Who asks; `name` is "" for an outsider."""

    name: str
    role: Role


OUTSIDER = Visitor("", Role.OUTSIDER)


@dataclass(frozen=True)
class Needs:
    """A FastAPI dependency that lets those in who have at least `role`.

    Returns the visitor.

    Raises:
        NotLoggedIn, Forbidden: the visitor's role is too small.
        Forbidden: a change that does not come from one of our pages.
        TooMany: too many requests.
    """

    role: Role

    async def __call__(self, request: Request) -> Visitor:
        visitor = visitor_of(request)
        is_operator = visitor.role is Role.OPERATOR
        request.app.state.rate.check(visitor.name or _address(request), is_operator)
        if visitor.role < self.role:
            if visitor.role is Role.OUTSIDER:
                raise NotLoggedIn("log in first")
            raise Forbidden("this needs the role of an operator")
        if request.method not in _SAFE and self.role is not Role.OUTSIDER:
            check_token(request, request.headers.get(CSRF_HEADER, ""))
        return visitor


def needs(role: Role) -> Needs:
    """Return the dependency that asks for a role."""
    return Needs(role)


def visitor_of(request: Request) -> Visitor:
    """Return who has this session; one that is too old is nobody's."""
    session: Session = request.session
    began_s = session.get("since")
    if began_s is None:
        return OUTSIDER
    hours: float = request.app.state.settings.session_hours
    if request.app.state.clock() - began_s >= hours * _HOUR_S:
        session.clear()
        return OUTSIDER
    return Visitor(session["name"], Role(session["role"]))


def log_in(session: Session, visitor: Visitor, now_s: float) -> None:
    """Begin a session; nothing of an earlier one stays."""
    session.clear()
    session.update(name=visitor.name, role=int(visitor.role), since=now_s)


def csrf_token(session: Session) -> str:
    """Return the session's token, made where there is none."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"])


def check_token(request: Request, given: str) -> None:
    """Refuse a change that was not asked for by one of our pages.

    Raises:
        Forbidden: the token is not the session's, or another site sends the request.
    """
    expected = str(request.session.get("csrf", ""))
    is_ours = bool(expected) and hmac.compare_digest(given.encode(), expected.encode())
    if not is_ours or request.headers.get("sec-fetch-site", "") not in _FROM_HERE:
        raise Forbidden("the page is out of date; load it again")


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
