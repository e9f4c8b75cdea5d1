"""Merge people's annotations into an annotation manifest, and ask for a training run.

Everything is read anew each time, so that lost, doubled, reordered and repeated events do no
harm. The manifest is written first, then the report, and `current.json` last: it is the
request for a training run (components/retrain reads it), and a merge that died before it is
made good by the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from components.labeling.decide import Decision, Rules, decide
from components.labeling.merge_report import MergeContext, write_report
from components.labeling.queue_facts import read_facts
from components.labeling.reading import Reading, read_annotations
from components.labeling.settings import Place, Secrets, Settings
from components.labeling.votes import image_of
from shared.component import annotation_manifest as manifests
from shared.component.annotation_manifest import CURRENT, Label, Manifest
from shared.component.errors import InputError, StorageError, UsageError
from shared.component.object_store import ObjectStore, open_store

log = logging.getLogger(__name__)
_LEAST_LOSS = 20  # fewer answers people may well take back within one round
_ATTEMPTS = 3  # another merge may write at the same time, hardly three of them


@dataclass(frozen=True)
class MergeSettings:
    """queue, annotations, labels: places; report: folder or s3:// prefix, "" for none.

    allow_loss: most labels may leave at once because their answers are gone.
    """

    queue: str
    annotations: str
    labels: str
    report: str = ""
    rules: Rules = field(default_factory=Rules)
    allow_loss: bool = False


@dataclass(frozen=True)
class MergeStores:
    """The places of a merge, opened."""

    queue: ObjectStore
    annotations: ObjectStore
    labels: ObjectStore
    report: ObjectStore | None = None

    @classmethod
    def open(cls, settings: MergeSettings, client: Any = None) -> MergeStores:
        """Open them; client: boto3's for S3, default: its own.

        Raises:
            StorageError: a setting names no place.
        """
        return cls(
            open_store(settings.queue, client),
            open_store(settings.annotations, client),
            open_store(settings.labels, client),
            open_store(settings.report, client) if settings.report else None,
        )


@dataclass(frozen=True)
class MergeOutcome:
    """What a merge came to.

    fingerprint: of the manifest that counts now, "" while nobody has labelled anything.
    images: in it. is_changed: `current.json` was written, and so a training run asked for.
    """

    fingerprint: str
    images: int
    is_changed: bool
    decision: Decision


@dataclass(frozen=True)
class _Before:
    """The manifest that counts; etag: of current.json, "" where there is none."""

    fingerprint: str = ""
    etag: str = ""
    labels: tuple[Label, ...] = ()


def settings_of(settings: Settings) -> MergeSettings:
    """Return what a merge needs of the component's parameters.

    Raises:
        UsageError: it is not said where annotations or labels lie.
    """
    rules = Rules(**{name: getattr(settings, name) for name in Rules.__dataclass_fields__})
    return MergeSettings(
        settings.queue.uri.rstrip("/"),
        _place(settings.annotations, "annotations"),
        _place(settings.labels, "labels"),
        settings.report,
        rules,
        settings.allow_loss,
    )


def run_command(settings: Settings, _secrets: Secrets, _ports: Mapping[str, Any]) -> None:
    """Merge once, as `python -m components.labeling merge` does."""
    merge_settings = settings_of(settings)
    run_merge(merge_settings, MergeStores.open(merge_settings))


def run_merge(settings: MergeSettings, stores: MergeStores) -> MergeOutcome:
    """Read everything, decide, and write what has changed.

    Raises:
        StorageError: a place cannot be read or written; what counted before still counts.
        InputError: gold.json or current.json is damaged, or most answers are gone.
    """
    for _ in range(_ATTEMPTS):
        outcome = _merge(settings, stores)
        if outcome is not None:
            return outcome
        log.info("merge: another merge has written meanwhile; reading anew")
    raise StorageError(
        f"labeling: {stores.labels.uri}/{CURRENT} was changed by another merge {_ATTEMPTS} times "
        "in a row; let one merge run at a time"
    )


def _place(place: Place | None, port: str) -> str:
    if place is None:
        raise UsageError(f"labeling: {port} is empty; pass --{port} s3://bucket/{port}")
    return place.uri.rstrip("/")


def _merge(settings: MergeSettings, stores: MergeStores) -> MergeOutcome | None:
    """Merge once; None: somebody else has written since `current.json` was read."""
    before = _read_before(stores.labels)
    reading = read_annotations(stores.annotations, stores.labels)
    images = {image_of(annotation, settings.queue) for annotation in reading.annotations} - {""}
    if not settings.allow_loss:
        _check_loss(before, images, settings)
    facts = read_facts(stores.queue, images, stores.labels)
    decision = decide(reading.annotations, facts, settings.queue, settings.rules)
    manifest = Manifest(
        settings.annotations.rstrip("/"),
        {name: value for name, value in asdict(settings.rules).items() if name != "blind_share"},
        decision.labels,
    )
    data = manifest.encode()
    fingerprint = manifests.fingerprint(data)
    is_empty = not before.fingerprint and not decision.labels
    _tell(decision, reading, fingerprint)
    if not is_empty:
        stores.labels.put_new(manifests.manifest_name(fingerprint), data)
    if stores.report is not None:
        context = MergeContext("" if is_empty else fingerprint, before.labels, facts, reading)
        write_report(stores.report, decision, context, settings.rules)
    is_changed = not is_empty and fingerprint != before.fingerprint
    if is_changed:
        current = manifests.Current(fingerprint, len(decision.labels)).encode()
        labels = stores.labels
        if not (
            labels.put_match(CURRENT, current, before.etag)
            if before.etag
            else labels.put_new(CURRENT, current)
        ):
            return None
        log.info("merge: current=%s", fingerprint)
    return MergeOutcome("" if is_empty else fingerprint, len(decision.labels), is_changed, decision)


def _check_loss(before: _Before, images: set[str], settings: MergeSettings) -> None:
    """Refuse to forget most labels because their answers are nowhere to be seen.

    A wrong place, an emptied bucket and a project that was deleted all look like people who
    took everything back. Labels that people's answers no longer support leave as ever.
    """
    gone = sum(label.sha256 not in images for label in before.labels)
    if gone >= _LEAST_LOSS and 2 * gone > len(before.labels):
        raise InputError(
            f"labeling: the answers behind {gone} of {len(before.labels)} labels are gone from "
            f"{settings.annotations}; look at --annotations and --queue, restore them, or pass "
            "--allow-loss true; what counted before still counts"
        )


def _read_before(labels: ObjectStore) -> _Before:
    found = labels.read(CURRENT)
    if found is None:
        return _Before()
    data, etag = found
    current = manifests.read_current(data, f"{labels.uri}/{CURRENT}")
    manifest = labels.get(current.manifest)
    if manifest is None:  # somebody removed it: only the comparison with it is lost
        log.warning("merge: %s/%s is gone", labels.uri, current.manifest)
        return _Before(current.fingerprint, etag)
    read = manifests.read_manifest(manifest, f"{labels.uri}/{current.manifest}")
    return _Before(current.fingerprint, etag, tuple(read.labels))


def _tell(decision: Decision, reading: Reading, fingerprint: str) -> None:
    log.info(
        "merge: objects=%d unreadable=%d %s",
        *(reading.objects, len(reading.unreadable)),
        ", ".join(f"{name} {count}" for name, count in sorted(decision.answers.items())),
    )
    log.info(
        "merge: labels=%d held_batches=%d to_adjudicate=%d manifest=%.12s",
        *(len(decision.labels), sum(batch.is_held for batch in decision.batches)),
        *(len(decision.to_adjudicate), fingerprint),
    )
    for annotator in decision.annotators.values():
        if annotator.is_left_out:
            known = annotator.gold
            log.warning(
                "merge: annotator %s is left out: knew %d of %d gold images",
                *(annotator.name, known.hits, known.total),
            )
        elif annotator.warning:
            log.warning("merge: annotator %s %s", annotator.name, annotator.warning)
