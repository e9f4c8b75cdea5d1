"""Templates to HTML: what every page knows, and where its scripts and styles lie."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from components.web.access import Role, csrf_token, visitor_of

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"


@cache
def environment() -> jinja2.Environment:
    """Return the templates; a name that is not given is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.globals["static"] = static
    made.globals["Role"] = Role
    return made


@cache
def static(name: str) -> str:
    """Return the address of a file, which changes with its content: it may be kept for good."""
    version = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={version}"


def page(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Render a template for the one who asks."""
    settings = request.app.state.settings
    text = (
        environment()
        .get_template(template)
        .render(
            visitor=visitor_of(request),
            csrf=csrf_token(request.session),
            path=request.url.path,
            name=settings.name,
            settings=settings,
            **context,
        )
    )
    return HTMLResponse(text, status)
