"""Scripted annotators: people with accounts of their own who label through Label Studio.

They do what the page does: take the next task that Label Studio gives them, see the
suggestion if there is one, submit. Now and then one slips and gives another label.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

_TIMEOUT_S = 60.0
_CONTROL, _OBJECT = "label", "image"
_NO_TASK = 404


@dataclass(frozen=True)
class Work:
    """One task that somebody did.

    suggested: the label that was shown, "" where none was. score: of the prediction.
    """

    image: str
    label: str
    suggested: str
    score: float | None


class Annotator:
    """A person with a session of their own.

    slips: share of images, in [0, 1], that get a wrong label.
    """

    def __init__(self, url: str, name: str, labels: Sequence[str], slips: float, seed: int) -> None:
        self.name = name
        self._labels = labels
        self._slips = slips
        self._chance = random.Random(f"{seed}-{name}")  # noqa: S311 - a script's dice
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def sign_up(self, invitation: str, password: str) -> None:
        """Make the account by the owner's invitation; the session is then open."""
        self._http.get(invitation)
        form = {
            "email": f"{self.name}@example.com",
            "password": password,
            "csrfmiddlewaretoken": self._http.cookies.get("csrftoken", ""),
        }
        url = str(self._http.base_url)
        answer = self._http.post(invitation, data=form, headers={"referer": url})
        if answer.status_code != httpx.codes.FOUND:
            raise RuntimeError(f"sign-up of {self.name}: {answer.status_code} {answer.text[:300]}")
        self._http.headers["x-csrftoken"] = self._http.cookies.get("csrftoken") or ""
        self._http.headers["referer"] = url

    def label_next(self, project: int, truth: Callable[[str], str]) -> Work | None:
        """Label the task that Label Studio gives next; None: it has none for this person.

        truth: gives an image's label by its URI.
        """
        answer = self._http.get(f"/api/projects/{project}/next")
        if answer.status_code == _NO_TASK:
            return None
        task = answer.raise_for_status().json()
        image = _original(task["data"][_OBJECT])
        prediction = next(iter(task.get("predictions") or ()), None)
        suggested = _choice(prediction)
        label = self._decide(truth(image))
        body = _annotation(label, suggested, prediction, self._chance.uniform(2, 9))
        path = f"/api/tasks/{task['id']}/annotations/"
        self._http.post(path, json=body).raise_for_status()
        return Work(image, label, suggested, prediction and prediction.get("score"))

    def _decide(self, truth: str) -> str:
        wrong = [label for label in self._labels if label != truth]
        return self._chance.choice(wrong) if self._chance.random() < self._slips else truth


def owner_session(url: str, user: str, password: str) -> httpx.Client:
    """Return a client that is logged in."""
    http = httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False)
    page = "/user/login/"
    http.get(page)
    form = {
        "email": user,
        "password": password,
        "csrfmiddlewaretoken": http.cookies.get("csrftoken", ""),
    }
    answer = http.post(page, data=form, headers={"referer": url + page})
    if answer.status_code != httpx.codes.FOUND:
        raise RuntimeError(f"log-in of {user}: {answer.status_code}")
    http.headers["x-csrftoken"] = http.cookies.get("csrftoken") or ""
    http.headers["referer"] = url
    return http


def _original(address: str) -> str:
    """Return the URI behind the address at which Label Studio streams an image."""
    query = parse_qs(urlsplit(address).query)
    return base64.b64decode(query["fileuri"][0]).decode() if "fileuri" in query else address


def _choice(prediction: Mapping[str, Any] | None) -> str:
    regions = prediction["result"] if prediction else []
    return str(regions[0]["value"]["choices"][0]) if regions else ""


def _annotation(
    label: str, suggested: str, prediction: Mapping[str, Any] | None, lead_time_s: float
) -> dict[str, Any]:
    region: dict[str, Any] = {
        "from_name": _CONTROL,
        "to_name": _OBJECT,
        "type": "choices",
        "value": {"choices": [label]},
        "origin": "manual",
    }
    body: dict[str, Any] = {"result": [region], "lead_time": round(lead_time_s, 1)}
    if suggested and prediction:
        region["origin"] = "prediction" if label == suggested else "prediction-changed"
        body["parent_prediction"] = prediction["id"]
    return body
