"""A model package and what was measured of it, as the operator is told."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from components.web.operator.records import Record
from components.web.operator.run_records import Gate

Approval = Literal["PendingManualApproval", "Approved", "Rejected"]
Decision = Literal["Approved", "Rejected"]


class ClassScore(Record):
    """How one class is recognised; images: of it, in the test set; shares in [0, 1]."""

    name: str
    precision: float
    recall: float
    f1: float
    images: int


class Confusion(Record):
    """rows: true class by given class, in the order of `classes`."""

    classes: list[str]
    rows: list[list[int]]


class Robustness(Record):
    """Accuracies in [0, 1] on a sample of the test set.

    corruptions: by kind, one a severity 1 to 5. attacks: by name, one an entry of epsilons,
    the largest change of a pixel of 255. clean, attacked_clean: the same images, untouched.
    """

    clean: float
    images: int
    corruptions: dict[str, list[float]]
    attacked_clean: float
    attacked_images: int
    attacks: dict[str, list[float]]
    epsilons: list[float]


class Comparison(Record):
    """This model against the one that was approved when it was evaluated, on the same images.

    note: why there is none. interval: 95 % paired bootstrap of the difference.
    """

    note: str = ""
    champion_accuracy: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    only_champion: int | None = None
    only_challenger: int | None = None


class ModelFacts(Record):
    """What was trained, and on what."""

    name: str
    image_size: int
    classes: int
    dataset_fingerprint: str
    code_version: str


class Figures(Record):
    """What a package's report says; None and empty: it does not say that."""

    metrics: dict[str, float] = Field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    classes: tuple[ClassScore, ...] = ()
    confusion: Confusion | None = None
    robustness: Robustness | None = None
    comparison: Comparison | None = None
    accuracy_interval: tuple[float, float] | None = None
    golden_images: int | None = None
    test_images: int | None = None
    test_fingerprint: str = ""
    model: ModelFacts | None = None


class PackageSummary(Record):
    """One version in the list; accuracy and macro_f1: None where its report is not there."""

    version: int
    status: Approval
    created: datetime | None = None
    accuracy: float | None = None
    macro_f1: float | None = None
    test_fingerprint: str = ""


class PackagePage(Record):
    """Versions, the newest first; before: asks for older ones, None: there are none."""

    group: str
    packages: list[PackageSummary]
    before: int | None = None


class Package(PackageSummary):
    """One version with all that is known of it.

    comment: of the last decision. run: the run that made it, "" where it does not say.
    has_report: there is a page to read. note: why figures are missing.
    """

    arn: str
    comment: str = ""
    decided: datetime | None = None
    model_data: str = ""
    image: str = ""
    run: str = ""
    has_report: bool = False
    figures: Figures = Figures()
    note: str = ""


class Serving(Record):
    """What answers now.

    status: as SageMaker says it; "Absent": there is no such endpoint.
    version: of the model package, None where nothing tells. next: version on its way there.
    """

    endpoint: str
    status: str
    version: int | None = None
    next: int | None = None
    config: str = ""
    reason: str = ""
    changed: datetime | None = None
    instances: int | None = None

    @property
    def is_steady(self) -> bool:
        return self.status in ("InService", "Absent", "Failed", "OutOfService")
