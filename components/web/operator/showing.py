"""What all operator pages share: how they say things, and the token of a form."""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from components.web.operator import words
from components.web.pages import page


def show(request: Request, template: str, **context: Any) -> HTMLResponse:
    """Render a page of the operator's part."""
    return page(
        request,
        f"operator/{template}",
        words=words,
        token=token,
        **context,
    )


def token() -> str:
    """Return a hidden field's value, by which a form that is sent twice is one request."""
    return secrets.token_hex(20)
