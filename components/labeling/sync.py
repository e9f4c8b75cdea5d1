"""Keep queue, Label Studio and labels in step: one round, or one every so many seconds.

    the project is as it should be -> new images become tasks -> tasks get suggestions of the
    deployed model -> annotations that S3 lacks are written again -> merge

Label Studio reports success whatever happened, so what it holds is listed afterwards. A part
that fails leaves the others to do their work; it is said once, and done in the next round.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from components.labeling.clients import Clients
from components.labeling.errors import QueueAwayError, StudioError
from components.labeling.merge import MergeSettings, MergeStores, run_merge, settings_of
from components.labeling.model import Model
from components.labeling.project import Project, has_images
from components.labeling.settings import Place, Secrets, Settings
from components.labeling.studio import Studio, TaskFacts
from shared.component.errors import UsageError, VisionloopError
from shared.component.progress import track

log = logging.getLogger(__name__)
# Each such write fires S3's events for every annotation: only to be sure, now and then.
_WRITE_ALL_S = 3600.0
_HINT_QUIET_S = 5.0  # people submit every few seconds; one merge does for several


class Sync:
    """The rounds of one project; `problems` holds what went wrong in the last one.

    open_stores: of the merge; default: with boto3's own clients, which read many objects fast.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        clients: Clients,
        studio: Studio,
        clock: Callable[[], float] = time.monotonic,
        quiet_s: float = _HINT_QUIET_S,
        open_stores: Callable[[MergeSettings], MergeStores] = MergeStores.open,
    ) -> None:
        self._settings = settings
        self._s3 = clients.s3
        self._model = Model(clients.runtime, settings.endpoint)
        self._studio = studio
        self._project = Project(self._studio, settings, secrets)
        self._clock = clock
        self._quiet_s = quiet_s
        self._open_stores = open_stores
        self._write_all_at = float("-inf")
        self._version = ""
        self._told: dict[str, str] = {}
        self.problems: dict[str, str] = {}

    def round(self) -> None:
        """Do everything once; what fails is in `problems`."""
        self.problems = {}
        if self._try("project", self._ensure):
            self._try("images", self._take_images)
            self._try("suggestions", self._suggest)
            self._try("annotations", self._bring_annotations)
        self.merge()

    def merge(self) -> None:
        """Merge what has been annotated, where it is said where labels go."""
        if self._settings.annotations and self._settings.labels:
            self._try("merge", self._merge)

    def run(self, stop: threading.Event, hint: threading.Event) -> None:
        """Go on until told to stop; a hint makes the next merge come sooner."""
        next_round = self._clock()
        while not stop.is_set():
            if self._clock() >= next_round:
                next_round = self._clock() + self._settings.every_s
                self.round()
            if hint.wait(max(0.0, next_round - self._clock())) and not stop.is_set():
                stop.wait(self._quiet_s)
                hint.clear()
                self.merge()

    def _ensure(self) -> None:
        facts = self._model.describe()
        self._version = facts.version
        try:
            is_filled = has_images(self._s3, self._settings.images)
        except (BotoCoreError, ClientError) as err:
            raise QueueAwayError(f"labeling: {self._settings.images.uri}: {err}") from err
        self._project.ensure(facts, is_filled)

    def _take_images(self) -> None:
        if not self._project.source:
            log.info("sync: the queue is empty: %s", self._settings.images.uri)
            return
        _check_sync(self._studio.post(f"/api/storages/s3/{self._project.source}/sync"), "source")

    def _suggest(self) -> None:
        """Ask for the suggestions that open tasks lack, and see that they came.

        Raises:
            StudioError: none came, though some were asked for.
        """
        version, tasks = self._version, self._tasks()
        lacking = [task.id for task in tasks if _lacks(task, version)]
        size = self._settings.chunk
        chunks = [lacking[start : start + size] for start in range(0, len(lacking), size)]
        for chunk in track(chunks, len(chunks), "chunks", "suggestions"):
            self._studio.post(
                "/api/dm/actions",
                {"selectedItems": {"all": False, "included": chunk}},
                id="retrieve_tasks_predictions",
                project=self._project.id,
            )
        if lacking:
            tasks = self._tasks()
        if any(version in task.versions for task in tasks):
            self._project.follow_model(version)
        left = sum(_lacks(task, version) for task in tasks)
        log.info("sync: asked=%d without_suggestion=%d version=%s", len(lacking), left, version)
        if left:
            raise StudioError(
                f"sync: {left} of {len(tasks)} tasks have no suggestion; the ML backend's log "
                "says why, and the next round asks again"
            )

    def _bring_annotations(self) -> None:
        """Let Label Studio write what S3 lacks: while S3 was away, people went on."""
        if not (self._project.target and self._settings.annotations):
            return
        held = {name for task in self._tasks() for name in task.annotations}
        missing = held - _names_in(self._s3, self._settings.annotations)
        if not missing and (not held or self._clock() < self._write_all_at):
            return
        log.info("sync: annotations=%d missing_in_s3=%d", len(held), len(missing))
        path = f"/api/storages/export/s3/{self._project.target}/sync"
        _check_sync(self._studio.post(path), "target")
        self._write_all_at = self._clock() + _WRITE_ALL_S

    def _merge(self) -> None:
        settings = settings_of(self._settings)
        run_merge(settings, self._open_stores(settings))

    def _tasks(self) -> Sequence[TaskFacts]:
        return list(self._studio.tasks(self._project.id))

    def _try(self, part: str, work: Callable[[], None]) -> bool:
        try:
            work()
        except VisionloopError as err:
            self.problems[part] = str(err)
            if self._told.get(part) != str(err):
                log.warning("%s: %s", part, err)
            self._told[part] = str(err)
            return False
        except Exception as err:  # the thread's edge: an odd answer must not end all rounds
            self.problems[part] = repr(err)
            log.exception("%s: broke", part)
            return False
        if self._told.pop(part, ""):
            log.info("%s: all right again", part)
        return True


def _lacks(task: TaskFacts, version: str) -> bool:
    return not task.is_labelled and version not in task.versions


def _check_sync(answer: dict[str, Any], what: str) -> None:
    status = answer.get("status")
    if status != "completed":
        said = str(answer.get("traceback") or "").strip().rpartition("\n")[2]
        raise StudioError(f"label studio: sync of the {what} is {status}: {said}; is S3 there?")


def _names_in(client: Any, place: Place) -> set[str]:
    """Return the names of objects that lie directly in a place."""
    try:
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=place.bucket, Prefix=place.prefix
        )
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
    except (BotoCoreError, ClientError) as err:
        raise QueueAwayError(f"labeling: cannot list {place.uri}: {err}") from err
    return {key.removeprefix(place.prefix) for key in keys}


def run_command(settings: Settings, secrets: Secrets, _ports: dict[str, Any]) -> None:
    """Sync once, or until SIGTERM with every_s.

    Raises:
        VisionloopError: a single round could not do all its parts.
    """
    if settings.annotations is None:
        raise UsageError("labeling: sync needs --annotations s3://bucket/prefix")
    studio = Studio(settings.label_studio, secrets)
    sync = Sync(settings, secrets, Clients.connect(settings), studio)
    if settings.every_s:
        sync.run(threading.Event(), threading.Event())
        return
    sync.round()
    if sync.problems:
        parts = ", ".join(sync.problems)
        raise VisionloopError(f"labeling: not done: {parts}; the lines above say why")
