"""Label Studio over REST: who we are, one request, its refusals in our words.

With a name and a password a session is opened as a browser does it, which leaves nothing
behind; with a personal access token each access token lives five minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from components.labeling.errors import StudioAwayError, StudioError
from components.labeling.settings import Secrets
from shared.component.errors import UsageError

_TIMEOUT_S = 120.0  # its sync and its predictions are answered when they are done
_CONNECT_S = 5.0
_PAGE = 500
_TASK_FIELDS = "id,is_labeled,annotations_ids,cancelled_annotations,predictions_model_versions"
_MOST_SAID = 500  # characters of a refusal


@dataclass(frozen=True)
class TaskFacts:
    """A task as Label Studio lists it.

    annotations: ids, skips among them. versions: models of which it holds a prediction.
    """

    id: int
    is_labelled: bool
    annotations: frozenset[str]
    skips: int
    versions: frozenset[str]

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> TaskFacts:
        return cls(
            int(body["id"]),
            bool(body["is_labeled"]),
            _names(body["annotations_ids"]),
            int(body["cancelled_annotations"]),
            _names(body["predictions_model_versions"]),
        )


class Studio:
    """Call `get`, `post`, `patch`; each returns the JSON that came.

    transport: httpx's, for tests. Proxies of the environment are not asked.
    """

    def __init__(
        self, url: str, secrets: Secrets, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url
        self._secrets = secrets
        self._is_known = False
        self._http = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_S),
            transport=transport,
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """Raises StudioAwayError, StudioError."""
        return self._call("GET", path, params=parameters)

    def post(self, path: str, body: Any = None, **parameters: Any) -> Any:
        """Raises StudioAwayError, StudioError."""
        return self._call("POST", path, json={} if body is None else body, params=parameters)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Raises StudioAwayError, StudioError."""
        return self._call("PATCH", path, json=dict(body))

    def delete(self, path: str) -> Any:
        """Raises StudioAwayError, StudioError."""
        return self._call("DELETE", path)

    def tasks(self, project: int) -> Iterator[TaskFacts]:
        """Yield all tasks of a project."""
        page, seen = 1, 0
        while True:
            found = self.get(
                "/api/tasks",
                project=project,
                page=page,
                page_size=_PAGE,
                fields="all",
                include=_TASK_FIELDS,
            )
            yield from (TaskFacts.read(task) for task in found["tasks"])
            seen += len(found["tasks"])
            if seen >= found["total"] or not found["tasks"]:
                return
            page += 1

    def _call(self, method: str, path: str, **request: Any) -> Any:
        try:
            if not self._is_known:
                self._introduce()
            response = self._http.request(method, path, **request)
            if response.status_code in (401, 403):  # the session or the token has ended
                self._introduce()
                response = self._http.request(method, path, **request)
        except httpx.TransportError as err:
            raise StudioAwayError(
                f"label studio: no answer of {self.url}: {err!r}; is it running?"
            ) from err
        return self._read(response, f"{method} {path}")

    def _read(self, response: httpx.Response, what: str) -> Any:
        if response.status_code in (502, 503, 504):
            raise StudioAwayError(f"label studio: {what}: {response.status_code}; is it running?")
        if response.status_code >= 400:
            raise StudioError(
                f"label studio: {what}: {response.status_code} {_said(response)}; "
                "check the project in Label Studio, and who logs in"
            )
        if not response.content:
            return {}
        try:
            return response.json()
        except ValueError as err:
            raise StudioError(
                f"label studio: {what} answers no JSON; is {self.url} Label Studio's address?"
            ) from err

    def _introduce(self) -> None:
        secrets = self._secrets
        if secrets.studio_token:
            body = {"refresh": secrets.studio_token}
            self._http.headers.pop("authorization", None)
            access = self._read(self._http.post("/api/token/refresh/", json=body), "the token")
            self._http.headers["authorization"] = f"Bearer {access['access']}"
        elif secrets.studio_user and secrets.studio_password:
            self._log_in()
        else:
            raise UsageError(
                "label studio: nobody to log in as; set LABEL_STUDIO_USER and "
                "LABEL_STUDIO_PASSWORD, or LABEL_STUDIO_TOKEN"
            )
        self._is_known = True

    def _log_in(self) -> None:
        self._http.cookies.clear()
        page = "/user/login/"
        self._http.get(page)
        form = {
            "email": self._secrets.studio_user,
            "password": self._secrets.studio_password,
            "csrfmiddlewaretoken": self._http.cookies.get("csrftoken", ""),
        }
        answer = self._http.post(page, data=form, headers={"referer": self.url + page})
        if answer.status_code != 302:
            raise StudioError(
                f"label studio: {self._secrets.studio_user} may not log in "
                f"({answer.status_code}); check LABEL_STUDIO_USER and LABEL_STUDIO_PASSWORD"
            )
        self._http.headers["x-csrftoken"] = self._http.cookies.get("csrftoken", "")
        self._http.headers["referer"] = self.url


def _said(response: httpx.Response) -> str:
    """Return what a refusal says: which fields are wrong, or what is."""
    try:
        body = response.json()
        said = body.get("validation_errors") or body.get("detail") or body
    except (ValueError, AttributeError):  # a page for people
        said = response.reason_phrase
    return str(said)[:_MOST_SAID]


def _names(text: str | None) -> frozenset[str]:
    return frozenset(name.strip() for name in (text or "").split(",") if name.strip())
