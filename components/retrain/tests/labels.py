"""Manifests as the labeling component's merge writes them."""

from __future__ import annotations

from collections.abc import Mapping

from shared.component.annotation_manifest import Label, Manifest


def manifest_of(labels: Mapping[str, str], annotator: str = "1") -> Manifest:
    """Return a manifest of these labels, by the image's sha256."""
    items = [
        Label(sha256, f"s3://capture/review/images/{sha256}.jpg", label, (annotator,), (), "single")
        for sha256, label in labels.items()
    ]
    return Manifest("s3://data/annotations", {}, items)
