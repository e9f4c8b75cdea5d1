"""What the model registry is told: the CreateModelPackage request of a trained pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.pipeline.expressions import Join, Value
from shared.pipeline.graph import Artifact, RegisterModel
from shared.pipeline.images import inference_image
from shared.pipeline.settings import Settings

# As shared.vision.payload has them, which the host does not import; a test holds them equal.
CONTENT_TYPES = [
    "image/jpeg",
    "image/png",
    "image/webp",
    "application/x-image",
    "application/x-npy",
    "application/json",
]
RESPONSE_TYPES = ["application/json", "application/jsonlines", "application/x-npy"]
# What the endpoint is tried on; small first, a GPU where throughput asks for it.
REALTIME_INSTANCES = ["ml.t2.medium", "ml.m5.large", "ml.m5.xlarge", "ml.g4dn.xlarge"]


def register_model(
    group: str,
    *,
    package: Artifact,
    report: Artifact,
    approval_status: Value,
    settings: Settings,
    metadata: Mapping[str, Value],
) -> RegisterModel:
    """Return the step that adds a version to the model package group.

    package: folder that holds model.tar.gz.
    report: folder that holds index.html and statistics.json (SageMaker's layout).
    """
    statistics = _source(report, "statistics.json", "application/json")
    request: dict[str, Any] = {
        "ModelPackageGroupName": group,
        "ModelApprovalStatus": approval_status,
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": inference_image(settings),
                    "ModelDataUrl": Join([package, "model.tar.gz"], on="/"),
                }
            ],
            "SupportedContentTypes": CONTENT_TYPES,
            "SupportedResponseMIMETypes": RESPONSE_TYPES,
            "SupportedRealtimeInferenceInstanceTypes": REALTIME_INSTANCES,
        },
        "ModelMetrics": {
            "ModelQuality": {"Statistics": statistics},
            "Explainability": {"Report": _source(report, "index.html", "text/html")},
        },
        "DriftCheckBaselines": {"ModelQuality": {"Statistics": statistics}},
        "CustomerMetadataProperties": dict(metadata),
    }
    return RegisterModel("RegisterModel", request)


def _source(folder: Artifact, file: str, content_type: str) -> dict[str, Any]:
    return {"ContentType": content_type, "S3Uri": Join([folder, file], on="/")}
