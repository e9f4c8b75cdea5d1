"""What awslambdaric calls: an HTTP API's events to ASGI by Mangum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mangum import Mangum

from shared.component.body_limit import App


@dataclass
class Handler:
    """`app` is set before the first event."""

    app: App | None = None

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Answer one event of an HTTP API (payload 2.0)."""
        if self.app is None:
            raise RuntimeError("web: there is no application; start python -m components.web")
        answer: dict[str, Any] = Mangum(self.app, lifespan="off")(event, context)  # type: ignore[arg-type]
        return answer


HANDLER = Handler()
