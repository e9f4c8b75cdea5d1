"""Label Studio over REST: who we are, and what its refusals become."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from components.labeling.errors import StudioAwayError, StudioError
from components.labeling.settings import Secrets
from components.labeling.studio import Studio
from shared.component.errors import UsageError

OWNER = Secrets(studio_user="owner@example.com", studio_password="right")  # noqa: S106
TOKEN = Secrets(studio_token="refresh")  # noqa: S106


class FakeStudio:
    """Label Studio's log-in and tokens; `answer` is what the rest gives."""

    def __init__(self) -> None:
        self.answer = httpx.Response(200, json={"ok": True})
        self.seen: list[str] = []
        self.access = 0
        self.ends_session = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.seen.append(f"{request.method} {path}")
        if path == "/user/login/":
            return self._log_in(request)
        if path == "/api/token/refresh/":
            self.access += 1
            return httpx.Response(200, json={"access": f"access-{self.access}"})
        is_known = "session=yes" in request.headers.get("cookie", "") or request.headers.get(
            "authorization", ""
        ).endswith(f"access-{self.access}")
        if not is_known or self.ends_session:
            self.ends_session = 0
            return httpx.Response(401, json={"detail": "who are you?"})
        return self.answer

    def _log_in(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, headers={"set-cookie": "csrftoken=abc; Path=/"})
        is_right = b"password=right" in request.content and b"=abc" in request.content
        headers = {"set-cookie": "session=yes; Path=/", "location": "/"} if is_right else {}
        return httpx.Response(302 if is_right else 200, headers=headers)


@pytest.fixture
def fake() -> FakeStudio:
    return FakeStudio()


def _studio(fake: Any, secrets: Secrets = OWNER) -> Studio:
    return Studio("http://studio.example", secrets, httpx.MockTransport(fake))


def test_logs_in_once_as_a_browser_does(fake: FakeStudio) -> None:
    studio = _studio(fake)
    assert studio.get("/api/a") == {"ok": True}
    assert studio.post("/api/b", {"x": 1}) == {"ok": True}
    assert fake.seen == ["GET /user/login/", "POST /user/login/", "GET /api/a", "POST /api/b"]


@pytest.mark.parametrize("secrets", [OWNER, TOKEN])
def test_a_session_that_ended_is_opened_again(fake: FakeStudio, secrets: Secrets) -> None:
    studio = _studio(fake, secrets)
    studio.get("/api/a")
    fake.ends_session = 1
    assert studio.get("/api/b") == {"ok": True}
    assert fake.seen.count("GET /api/b") == 2


def test_a_wrong_password_names_the_variables_and_not_the_password(fake: FakeStudio) -> None:
    wrong = Secrets(studio_user="owner@example.com", studio_password="secret-word")  # noqa: S106
    with pytest.raises(StudioError, match="check LABEL_STUDIO_USER") as refused:
        _studio(fake, wrong).get("/api/a")
    assert "secret-word" not in str(refused.value)


def test_without_anybody_to_log_in_as_it_says_what_to_set(fake: FakeStudio) -> None:
    with pytest.raises(UsageError, match="LABEL_STUDIO_TOKEN"):
        _studio(fake, Secrets()).get("/api/a")


def test_a_refusal_says_which_field_is_wrong(fake: FakeStudio) -> None:
    fake.answer = httpx.Response(400, json={"detail": "x", "validation_errors": {"title": ["no"]}})
    with pytest.raises(StudioError, match=r"GET /api/a: 400 \{'title': \['no'\]\}"):
        _studio(fake).get("/api/a")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_without_label_studio_is_label_studio_away(fake: FakeStudio, status: int) -> None:
    fake.answer = httpx.Response(status)
    with pytest.raises(StudioAwayError, match="is it running"):
        _studio(fake).get("/api/a")


def test_nobody_listening_is_label_studio_away() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(StudioAwayError, match=r"http://studio\.example"):
        _studio(refuse).get("/api/a")


def test_a_page_in_place_of_json_is_no_answer(fake: FakeStudio) -> None:
    fake.answer = httpx.Response(200, text="<html>")
    with pytest.raises(StudioError, match="address"):
        _studio(fake).get("/api/a")
    fake.answer = httpx.Response(404, text="<html>" * 1000)
    with pytest.raises(StudioError, match="404 Not Found;"):
        _studio(fake).get("/api/a")


def test_tasks_are_read_page_by_page() -> None:
    fake = FakeStudio()
    bodies = [
        {
            "id": n,
            "is_labeled": n == 1,
            "annotations_ids": "4,5" if n == 1 else "",
            "cancelled_annotations": 1 if n == 1 else 0,
            "predictions_model_versions": "1, 2" if n == 1 else None,
        }
        for n in range(3)
    ]

    def paged(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/api/tasks":
            return fake(request)
        page = int(request.url.params["page"])
        shown = bodies[2 * page - 2 : 2 * page]
        return httpx.Response(200, json={"total": 3, "tasks": shown})

    tasks = list(_studio(paged).tasks(7))
    assert [task.id for task in tasks] == [0, 1, 2]
    assert tasks[1].annotations == {"4", "5"}
    assert (tasks[1].skips, tasks[1].versions, tasks[2].versions) == (1, {"1", "2"}, frozenset())
