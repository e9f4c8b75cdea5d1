"""The pages with a model and a clock of a test's own, and somebody who has logged in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import EndpointConnectionError
from fastapi import FastAPI
from starlette.testclient import TestClient

from components.web.app import build, guarded
from components.web.settings import Settings
from shared.component.spec import load_spec

KEY = "k" * 40
ADDRESS = "http://127.0.0.1"
PNG = b"\x89PNG\r\n\x1a\n and what the fake model does not look at"
LABELS = ("buildings", "forest", "sea")


def settings_of(**more: Any) -> Settings:
    """Return the component's defaults, and what a test has in place of some."""
    spec = load_spec(Path(__file__).parents[1])
    return Settings.read({n: p.default for n, p in spec.inputs.items()} | more, environ={})


@dataclass
class FakeModel:
    """Says forest; before: called with each image, to fail or to wait."""

    before: Callable[[bytes], None] = lambda _image: None
    asked: list[str] = field(default_factory=list)

    def __call__(self, image: bytes, attributes: str) -> dict[str, Any]:
        self.asked.append(attributes)
        self.before(image)
        said: dict[str, Any] = {
            "label": "forest",
            "confidence": 0.8,
            "entropy": 0.6,
            "probabilities": {"buildings": 0.15, "forest": 0.8, "sea": 0.05},
        }
        if "explain=true" in attributes:
            area = [0.1, 0.1, 0.8, 0.8]
            said["explanation"] = {"method": "occlusion", "map": [[0.1, -0.2]], "area": area}
        head = {"model_version": "3", "request_id": "r-1", "is_drift": None}
        return {**head, "predictions": [said]}


@dataclass
class Clock:
    """Seconds since the epoch; stands still unless told."""

    now_s: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


class Nobody:
    """boto3 clients of an AWS that does not answer."""

    def __getattr__(self, _service: str) -> Any:
        return _Silent()


class _Silent:
    def __getattr__(self, _operation: str) -> Callable[..., Any]:
        return _give_up


def _give_up(*_arguments: Any, **_named: Any) -> None:
    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


@dataclass
class House:
    """The application and what is around it."""

    settings: Settings
    model: FakeModel
    clock: Clock
    app: FastAPI

    def outsider(self, **more: Any) -> TestClient:
        """Return a browser that nobody knows."""
        return TestClient(guarded(self.app, self.settings), base_url=ADDRESS, **more)

    def visitor(self, role: str) -> TestClient:
        """Return a browser that has logged in; it sends the token with every request."""
        browser = self.outsider(follow_redirects=False)
        token = csrf_in(browser.get("/login").text)
        form = {"csrf": token, "role": role, "name": f"{role} of a test"}
        assert browser.post("/login", data=form).status_code == 303
        browser.headers["x-csrf-token"] = browser.get("/api/v1/session").json()["csrf_token"]
        return browser


def open_house(clients: Any = None, **more: Any) -> House:
    """Return the pages with login dev and these settings; clients: default: nobody answers."""
    model, clock, settings = FakeModel(), Clock(), settings_of(**more)
    app = build(settings, clients or Nobody(), KEY, ask=model, clock=clock)
    return House(settings, model, clock, app)


def csrf_in(page: str) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', page)
    assert found is not None
    return found[1]
