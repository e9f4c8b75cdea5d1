"""The loop from its first image to the model that learned from people, step by step.

Nothing here decides anything: each step wakes the part that decides (the endpoint, the
labelling component, `retrain`, the pipeline) and counts what came of it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ci.label_studio import Studio, running_studio
from ci.loop import images, people, runs, surroundings, traffic
from ci.loop.images import Images
from ci.loop.people import Annotator, Work
from ci.loop.runs import Comparison
from ci.loop.surroundings import LoopError, Place
from ci.loop.traffic import Queue, Traffic
from ci.packages import LocalPackage
from ci.served import free_port
from shared.component.progress import track

log = logging.getLogger(__name__)
_PEOPLE = ("ann", "ben")


@dataclass(frozen=True)
class Options:
    """What a run of the loop is given; the command's help says what each is.

    training: pipeline parameters that the loop adds to every run. endpoint: flags of serving.
    ask: called with where to label and how to log in; returns when a person has labelled.
        None: scripted people do.
    """

    data: str
    labelled: int
    slips: float
    seed: int
    training: Mapping[str, str]
    endpoint: Mapping[str, str]
    ask: Callable[[str], None] | None = None

    @property
    def min_confidence(self) -> float:
        return float(self.endpoint["min-confidence"])


@dataclass
class Told:
    """What came of each step, as far as the loop has got.

    again: what `retrain` said after Label Studio had written every object anew.
    report: of the merge. seconds: of each step.
    """

    images: Images
    traffic: Traffic | None = None
    queue: Queue | None = None
    work: list[Work] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    decision: dict[str, Any] = field(default_factory=dict)
    again: dict[str, Any] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    comparison: Comparison | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count the seconds of a step."""
        log.info("%s", step)
        began = time.monotonic()
        yield
        self.seconds[step] = time.monotonic() - began


def play(folder: Path, options: Options) -> Told:
    """Go once through the loop.

    Raises:
        LoopError: a part did not do its part; its log's end is shown.
    """
    with ExitStack() as open_programs:
        place = Place.at(folder, open_programs.enter_context(surroundings.aws()))
        for bucket in (surroundings.CAPTURE, surroundings.DATA, surroundings.ARTIFACTS):
            place.client("s3").create_bucket(Bucket=bucket)
        told = Told(images.fetch(place, options.data, options.labelled, options.seed))
        first = _first_model(place, told, options)
        url = open_programs.enter_context(_serving(place, first, options))
        place = place.told(AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=url)
        with told.timed("images in use"):
            told.traffic = traffic.send(place, told.images, options.min_confidence)
            told.queue = traffic.queued(place)
        with told.timed("people label"):
            _label(place, told, options)
        with told.timed("people's labels start a run"):
            _ask_for_a_run(place, told)
        with told.timed("the run with people's labels"):
            runs.run(place, runs.parameters_of(place, told.runs[-1]), options.training)
        told.comparison = runs.comparison(place)
    return told


def _first_model(place: Place, told: Told, options: Options) -> LocalPackage:
    """Bring raw data, which starts the first run; approve what it registers."""
    with told.timed("new raw data starts a run"):
        runs.create(place)
        images.upload(place.client("s3"), told.images)
        _expect(runs.look(place, "raw"), "start")
    with told.timed("the run with the first labels"):
        (execution,) = runs.executions(place)
        runs.run(place, runs.parameters_of(place, execution), options.training)
    return runs.approve(place)


def _serving(place: Place, package: LocalPackage, options: Options) -> Any:
    return surroundings.endpoint(place, package.archive, package.package.version, options.endpoint)


def _label(place: Place, told: Told, options: Options) -> None:
    """Let people label in Label Studio what has come to the queue, and merge it."""
    port = free_port()
    s3_url = place.environ["AWS_ENDPOINT_URL"]
    owner = place.environ["LABEL_STUDIO_USER"], place.environ["LABEL_STUDIO_PASSWORD"]
    keys = {name: value for name, value in place.environ.items() if name.startswith("AWS_")}
    with running_studio(place.folder / "studio", *owner, {**keys, "S3_ENDPOINT": s3_url}) as studio:
        place = place.told(
            VISIONLOOP_LABEL_STUDIO=studio.url,
            VISIONLOOP_BACKEND_URL=f"http://127.0.0.1:{port}",
        )
        with surroundings.backend(place, port):
            _labeling(place, "setup")
            _labeling(place, "sync")
            if options.ask:
                options.ask(f"{studio.url}/  as {studio.user}  password {studio.password}")
            else:
                told.work = list(_everybody_labels(studio, told, options))
            _labeling(place, "sync")
            told.report = json.loads((place.folder / "labels-report" / "report.json").read_text())
            # Once more: Label Studio writes every object anew, and nothing is new.
            _labeling(place, "sync")


def _labeling(place: Place, command: str) -> None:
    place.python("-m", "components.labeling", command, name="labeling")


def _everybody_labels(studio: Studio, told: Told, options: Options) -> Iterator[Work]:
    """Give everybody tasks in turn until Label Studio has none left for anybody."""
    owner = people.owner_session(studio.url, studio.user, studio.password)
    (project,) = owner.get("/api/projects/").json()["results"]
    invitation = owner.get("/api/invite").json()["invite_url"]
    owner.close()
    staff = [_hire(studio.url, name, invitation, told.images, options) for name in _PEOPLE]

    def shifts() -> Iterator[Work]:
        waiting: list[Annotator] = list(staff)
        while waiting:
            for person in list(waiting):
                work = person.label_next(project["id"], told.images.truth_of)
                if work is None:
                    waiting.remove(person)
                else:
                    yield work

    try:
        total = told.queue.tasks if told.queue else 0
        yield from track(shifts(), total, "tasks", "labelling")
    finally:
        for person in staff:
            person.close()


def _hire(url: str, name: str, invitation: str, known: Images, options: Options) -> Annotator:
    person = Annotator(url, name, known.classes, options.slips, options.seed)
    person.sign_up(invitation, f"password-of-{name}")
    return person


def _ask_for_a_run(place: Place, told: Told) -> None:
    """Wake `retrain` as S3's event does, and once more as if nothing had happened."""
    before = runs.executions(place)
    told.decision = runs.look(place, "labels")
    told.runs = [arn for arn in runs.executions(place) if arn not in before]
    if len(told.runs) != 1:
        raise LoopError(
            f"loop: {len(told.runs)} runs were started: {told.decision['reason']}; look into "
            f"{place.folder}/retrain.log and labels-report/report.html"
        )
    told.again = runs.look(place, "labels")


def _expect(said: Mapping[str, Any], outcome: str) -> None:
    if said["outcome"] != outcome:
        raise LoopError(f"loop: retrain said {said['outcome']} ({said['reason']}), not {outcome}")
