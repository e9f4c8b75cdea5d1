"""Make Label Studio's project what it has to be, and keep it so.

`Project.ensure` may be called as often as one likes: it looks, changes what differs, and
says what it changed. The configuration is written only where its labels are not the model's;
how people have arranged it otherwise is theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from components.labeling.clients import Clients
from components.labeling.errors import ConfigError, StudioError
from components.labeling.guard import SECRET_HEADER
from components.labeling.label_config import check_labels, read_config, write_config
from components.labeling.model import Model, ModelFacts
from components.labeling.settings import Place, Secrets, Settings
from components.labeling.studio import Studio
from shared.component.errors import UsageError

log = logging.getLogger(__name__)
_TITLE = "visionloop"
_CONNECTED = "CO"
_EVENTS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
)


class Project:
    """One project, found by its title. `id` is 0 until `ensure` has run.

    source, target: ids of the storages; source is 0 while the queue holds no image, since
        Label Studio takes no empty one.
    """

    def __init__(self, studio: Studio, settings: Settings, secrets: Secrets) -> None:
        self._studio = studio
        self._settings = settings
        self._secrets = secrets
        self.id = 0
        self.source = 0
        self.target = 0
        self.changes: list[str] = []

    def ensure(self, model: ModelFacts, has_images: bool) -> list[str]:
        """Create or repair everything; return what was changed, in words.

        Raises:
            StudioAwayError, StudioError: Label Studio gives no answer, or refuses.
        """
        self.changes = []
        self._ensure_project(model)
        if has_images:
            self.source = self._ensure("/api/storages/s3", "source", self._source(), _is_place)
        if self._settings.annotations:
            target = self._storage(self._settings.annotations) | {"can_delete_objects": True}
            self.target = self._ensure("/api/storages/export/s3", "target", target, _is_place)
        self._ensure("/api/webhooks/", "webhook", self._webhook(), _is_url)  # before the backend
        self._ensure_backend()
        for change in self.changes:
            log.info("project %d: %s", self.id, change)
        return self.changes

    def follow_model(self, version: str) -> bool:
        """Let the project order and show by this version; tell whether it was another.

        Label Studio takes only a version of which it holds a prediction.
        """
        path = f"/api/projects/{self.id}/"
        if self._studio.get(path)["model_version"] == version:
            return False
        self._studio.patch(path, {"model_version": version})
        log.info("project %d: model version is %s", self.id, version)
        return True

    def _ensure_project(self, model: ModelFacts) -> None:
        wanted = {
            "sampling": "Uncertainty sampling",
            "maximum_annotations": 2,
            "overlap_cohort_percentage": self._settings.overlap_percent,
            "show_collab_predictions": True,
            "evaluate_predictions_automatically": False,
        }
        title = self._settings.project
        listed = self._studio.get("/api/projects", title=title, page_size=100)["results"]
        same = [project for project in listed if project["title"] == title]
        if len(same) > 1:
            raise StudioError(f"label studio: {len(same)} projects are named {title}; rename some")
        if same:
            found = self._studio.get(f"/api/projects/{same[0]['id']}/")
        else:
            body = {"title": title, "label_config": write_config(model.labels)}
            found = self._studio.post("/api/projects", body)
            self.changes.append(f"project {title} created")
        self.id = int(found["id"])
        try:
            check_labels(read_config(found["label_config"]), model.labels)
        except ConfigError as err:
            log.warning("project %d: %s", self.id, err)
            wanted["label_config"] = write_config(model.labels)
        self._repair(f"/api/projects/{self.id}/", "project", wanted, found)

    def _source(self) -> dict[str, Any]:
        """Return what makes images tasks: data is the image's place and nothing else."""
        return self._storage(self._settings.images) | {
            "use_blob_urls": True,
            "recursive_scan": True,
            "presign": False,
        }

    def _storage(self, place: Place) -> dict[str, Any]:
        return {"bucket": place.bucket, "prefix": place.prefix.rstrip("/"), "title": _TITLE}

    def _webhook(self) -> dict[str, Any]:
        """Return our webhook: Label Studio would make one without the secret."""
        secret = self._secrets.webhook_secret
        return {
            "url": f"{self._settings.backend_url}/webhook",
            "send_payload": False,
            "send_for_all_actions": False,
            "headers": {SECRET_HEADER: secret} if secret else {},
            "is_active": True,
            "actions": sorted(_EVENTS),
        }

    def _ensure(
        self,
        path: str,
        what: str,
        wanted: Mapping[str, Any],
        is_same: Callable[[Mapping[str, Any], Mapping[str, Any]], bool],
    ) -> int:
        """Find what is ours in a list of the project's, make or repair it; return its id."""
        listed = [one for one in self._studio.get(path, project=self.id) if is_same(one, wanted)]
        found, *doubles = sorted(listed, key=lambda one: int(one["id"])) or [None]
        end = "/" * path.endswith("/")  # Label Studio's addresses end as their lists' do
        for double in doubles:  # two setups at once; a second source would double every task
            self._studio.delete(f"{path.rstrip('/')}/{double['id']}{end}")
            self.changes.append(f"{what} was there twice, one removed")
        if found is None:
            made = self._studio.post(path, {**wanted, "project": self.id})
            self.changes.append(f"{what} created")
            return int(made["id"])
        self._repair(f"{path.rstrip('/')}/{found['id']}{end}", what, wanted, found)
        return int(found["id"])

    def _ensure_backend(self) -> None:
        secrets = self._secrets
        wanted = {"url": self._settings.backend_url, "title": _TITLE, "is_interactive": False}
        if secrets.has_backend:
            wanted |= {"auth_method": "BASIC_AUTH", "basic_auth_user": secrets.backend_user}
        listed = self._studio.get("/api/ml", project=self.id)
        found = next((one for one in listed if _is_url(one, wanted)), None)
        password = {"basic_auth_pass": secrets.backend_password} if secrets.has_backend else {}
        body = {**wanted, **password, "project": self.id}
        if found is None:
            self._studio.post("/api/ml", body)
            self.changes.append("backend created")
        elif differing := _differing(wanted, found):
            self._studio.patch(f"/api/ml/{found['id']}", body)
            self.changes.append(f"backend repaired: {', '.join(differing)}")
        elif found["state"] != _CONNECTED:  # its password cannot be read, so give it again
            self._studio.patch(f"/api/ml/{found['id']}", body)
            self.changes.append("backend connected again")

    def _repair(
        self, path: str, what: str, wanted: Mapping[str, Any], found: Mapping[str, Any]
    ) -> None:
        if differing := _differing(wanted, found):
            # All of it: a webhook that is told only some fields forgets its actions.
            self._studio.patch(path, wanted)
            self.changes.append(f"{what} repaired: {', '.join(differing)}")


def _differing(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [name for name, value in wanted.items() if _plain(found.get(name)) != _plain(value)]


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


def _is_place(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    prefixes = {(one["prefix"] or "").strip("/") for one in (found, wanted)}
    return bool(found["bucket"] == wanted["bucket"]) and len(prefixes) == 1


def _is_url(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return bool(found["url"].rstrip("/") == wanted["url"])


def has_images(client: Any, place: Place) -> bool:
    """Tell whether the queue holds an image."""
    found = client.list_objects_v2(Bucket=place.bucket, Prefix=place.prefix, MaxKeys=1)
    return bool(found.get("Contents"))


def run_command(settings: Settings, secrets: Secrets, _ports: dict[str, Any]) -> None:
    """Set the project up and say on stdout what was changed."""
    import sys

    if settings.annotations is None:
        raise UsageError("labeling: setup needs --annotations s3://bucket/prefix")
    clients = Clients.connect(settings)
    facts = Model(clients.runtime, settings.endpoint).describe()
    project = Project(Studio(settings.label_studio, secrets), settings, secrets)
    changes = project.ensure(facts, has_images(clients.s3, settings.images))
    lines = changes or ["nothing to change"]
    if not project.source:
        lines = [*lines, f"no source yet: {settings.images.uri} is empty; sync adds it"]
    sys.stdout.writelines(f"{line}\n" for line in lines)
