"""The code of functions on AWS: a zip of the component and what its `context` lists.

Only Python files go in: the functions need nothing beyond the standard library and boto3, which
Lambda's runtime has. The same files in the same order with the same times, so that the
same code has the same name and an unchanged function is not deployed again.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.component.spec import load_spec
from shared.pipeline.images import context_files

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip can say
_PARAMETER = re.compile(r"(?P<name>[A-Z][A-Za-z]*)Code")


@dataclass(frozen=True)
class FunctionCode:
    """A function's zip. key: where it lies in the artifacts bucket."""

    key: str
    data: bytes


def component_of_parameter(parameter: str) -> str:
    """Return the component whose zip a template's parameter names; "" for none: RetrainCode."""
    found = _PARAMETER.fullmatch(parameter)
    return re.sub(r"(?<!^)(?=[A-Z])", "_", found["name"]).lower() if found else ""


def pack(component: str, root: Path) -> FunctionCode:
    """Return the zip of a component of kind lambda."""
    spec = load_spec(root / "components" / component)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in context_files(spec, root):
            if file.path.endswith(".py"):
                entry = zipfile.ZipInfo(file.path, _EPOCH)
                entry.external_attr = 0o644 << 16  # or Lambda's user could not read it
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, file.data)
    data = out.getvalue()
    name = hashlib.sha256(data).hexdigest()[:16]
    return FunctionCode(f"functions/{component}-{name}.zip", data)


def upload(code: FunctionCode, client: Any, bucket: str) -> bool:
    """Put the zip into the bucket unless it is there; return whether it was put.

    client: boto3's for S3.
    """
    found = client.list_objects_v2(Bucket=bucket, Prefix=code.key, MaxKeys=1)
    if found.get("Contents"):
        return False
    client.put_object(Bucket=bucket, Key=code.key, Body=code.data)
    return True
