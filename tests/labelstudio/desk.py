"""One test's own share of the surroundings: a queue, a project, a backend, people."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from ci.label_studio import Studio as Server
from ci.problems import REPOSITORY
from components.labeling.clients import Clients
from components.labeling.merge import MergeStores
from components.labeling.settings import Secrets, Settings
from components.labeling.studio import Studio
from components.labeling.sync import Sync
from shared.component.layout import Layout
from shared.component.runtime import resolve
from shared.component.spec import load_spec
from shared.vision.tests.factories import colour_image
from tests.labelstudio.world import (
    BACKEND,
    CAPTURE,
    DATA,
    KEYS,
    OWNER,
    PASSWORD,
    Backend,
    Door,
    Storage,
    client,
    running_backend,
)

COLOURS = ("blue", "green", "red")
_PASSWORD = "of-an-annotator"  # noqa: S105 - of a Label Studio that ends with the tests


@dataclass
class Desk:
    """Everything of one test; `name` is its prefix, its project and its folder."""

    name: str
    storage: Storage
    door: Door
    server: Server
    backend: Backend
    owner: Studio
    people: dict[str, Studio] = field(default_factory=dict)
    studios: list[Studio] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        spec = load_spec(REPOSITORY / "components" / "labeling")
        return Settings.read(resolve(spec, {}, Layout(Path("/none")), self.backend.environ))

    @cached_property
    def clients(self) -> Clients:
        runtime = client("sagemaker-runtime", self.door.url)
        return Clients(client("s3", self.storage.url), runtime, runtime)

    def sync(self, **settings: Any) -> Sync:
        """Do one round in this process and return what did it."""
        secrets = Secrets.from_environ(self.backend.environ)
        studio = Studio(self.server.url, secrets)
        self.studios.append(studio)
        sync = Sync(
            replace(self.settings, **settings),
            secrets,
            self.clients,
            studio,
            open_stores=lambda places: MergeStores.open(places, self.clients.s3),
        )
        sync.round()
        return sync

    @cached_property
    def project(self) -> int:
        found = self.owner.get("/api/projects", title=self.name)["results"]
        (project,) = [one["id"] for one in found if one["title"] == self.name]
        return int(project)

    def put(self, count: int, *, noise: float = 90.0, is_audit: bool = False) -> list[str]:
        """Put images of the three colours in turn; return their hashes."""
        seed = 1000 * sum(map(ord, self.name)) + len(self.storage.keys(CAPTURE, self.name))
        return [
            self.storage.put_image(
                self.name, colour_image(COLOURS[n % 3], seed + n, noise=noise), is_audit=is_audit
            )
            for n in range(count)
        ]

    def tasks(self) -> list[dict[str, Any]]:
        """Return Label Studio's tasks with their predictions and annotations, by id."""
        found: list[dict[str, Any]] = self.owner.get(
            "/api/tasks", project=self.project, page_size=1000, fields="all", resolve_uri="false"
        )["tasks"]
        return sorted(found, key=lambda task: int(task["id"]))

    def task_of(self, sha256: str) -> int:
        (task,) = [t["id"] for t in self.tasks() if sha256 in (t["storage_filename"] or "")]
        return int(task)

    def predictions(self) -> dict[int, dict[str, Any]]:
        """Return the newest prediction of each task."""
        found = self.owner.get("/api/predictions", project=self.project)
        return {p["task"]: p for p in sorted(found, key=lambda p: int(p["id"]))}

    def person(self, name: str) -> Studio:
        """Return a person who signed up by the owner's invitation."""
        if name not in self.people:
            email = f"{name}-{self.name}@example.com"
            invitation = self.owner.get("/api/invite")["invite_url"]
            with httpx.Client(base_url=self.server.url, trust_env=False) as http:
                http.get(invitation)
                form = {
                    "email": email,
                    "password": _PASSWORD,
                    "csrfmiddlewaretoken": http.cookies.get("csrftoken"),
                }
                done = http.post(invitation, data=form, headers={"referer": self.server.url})
                assert done.status_code == 302, done.text
            secrets = Secrets(studio_user=email, studio_password=_PASSWORD)
            self.people[name] = Studio(self.server.url, secrets)
        return self.people[name]

    def annotate(self, name: str, task: int, *labels: str, **more: Any) -> int:
        """Let a person label a task; return the annotation's id."""
        body = {"result": result_of(*labels), "lead_time": 2.5, **more}
        return int(self.person(name).post(f"/api/tasks/{task}/annotations/", body)["id"])

    def annotation(self, number: int) -> dict[str, Any] | None:
        """Return what lies on S3 of an annotation."""
        key = f"{self.name}/annotations/{number}"
        if key not in self.storage.keys(DATA, key):
            return None
        body: dict[str, Any] = self.storage.json(DATA, key)
        return body

    def labels(self) -> dict[str, str]:
        """Return the labels of the manifest that counts, by image."""
        folder = f"{self.name}/labels/"
        if f"{folder}current.json" not in self.storage.keys(DATA, folder):
            return {}
        current = self.storage.json(DATA, f"{folder}current.json")
        manifest = self.storage.json(DATA, folder + current["manifest"])
        return {label["sha256"]: label["label"] for label in manifest["labels"]}

    def close(self) -> None:
        for each in (*self.studios, self.owner, *self.people.values(), *self._aws()):
            each.close()

    def _aws(self) -> tuple[Any, ...]:
        return self.clients.s3, self.clients.runtime


def result_of(*labels: str) -> list[dict[str, Any]]:
    """Return what the page sends when these choices are ticked."""
    if not labels:
        return []
    value = {"choices": list(labels)}
    return [{"from_name": "label", "to_name": "image", "type": "choices", "value": value}]


@contextmanager
def open_desk(
    name: str, storage: Storage, door: Door, server: Server, folder: Path, *flags: str
) -> Iterator[Desk]:
    """Set a desk up; flags: of the backend."""
    environ = {
        **{n: v for n, v in os.environ.items() if not n.startswith("VISIONLOOP_")},
        **KEYS,
        **BACKEND,
        "PYTHONPATH": str(REPOSITORY),
        "AWS_ENDPOINT_URL": storage.url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": door.url,
        "LABEL_STUDIO_USER": OWNER,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "VISIONLOOP_QUEUE": f"s3://{CAPTURE}/{name}",
        "VISIONLOOP_PROJECT": name,
        "VISIONLOOP_ANNOTATIONS": f"s3://{DATA}/{name}/annotations",
        "VISIONLOOP_LABELS": f"s3://{DATA}/{name}/labels",
        "VISIONLOOP_LABEL_STUDIO": server.url,
        "VISIONLOOP_BLIND_SHARE": "0",
        "VISIONLOOP_CONCURRENCY": "4",
    }
    owner = Studio(server.url, Secrets(studio_user=OWNER, studio_password=PASSWORD))
    with running_backend(environ, folder, *flags) as backend:
        desk = Desk(name, storage, door, server, backend, owner)
        try:
            yield desk
        finally:
            desk.close()
