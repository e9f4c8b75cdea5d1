"""Parameter Store over one append-only file: <home>/parameters.jsonl, a line a version.

A writer takes the lock beside the file, cuts off what a writer that was killed has left
half-written, adds its line and waits until the disk has it. A reader needs no lock: a line
counts when it is whole.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from shared.pipeline.execution import timestamp
from shared.pipeline.local_aws.call import (
    Call,
    Json,
    Operations,
    Page,
    moment,
    paged,
    without_empty,
)
from shared.pipeline.local_aws.errors import ApiError, invalid
from shared.pipeline.settings import NO_ACCOUNT

_NAME = re.compile(r"/?[a-zA-Z0-9_.-]+(?:/[a-zA-Z0-9_.-]+)*")
_TYPES = ("String", "StringList", "SecureString")
_LONGEST_VALUE = 4096  # AWS's limit of a standard parameter
_BY_PATH = Page(10, "InvalidNextToken")  # AWS's largest page of GetParametersByPath
_HISTORY = Page(50, "InvalidNextToken")


@dataclass(frozen=True)
class Parameters:
    """Parameters and all their versions."""

    path: Path
    region: str

    @property
    def operations(self) -> Operations:
        return {
            "GetParametersByPath": self.by_path,
            "GetParameter": self.get,
            "GetParameterHistory": self.history,
            "PutParameter": self.put,
        }

    def by_path(self, call: Call) -> Json:
        path = call.text("Path")
        if not path.startswith("/"):
            raise invalid("The parameter path must begin with a slash (/).")
        if call.body.get("ParameterFilters"):
            raise ApiError("InvalidFilterKey", "ParameterFilters are not served here")
        prefix, is_deep = path.rstrip("/") + "/", bool(call.body.get("Recursive"))
        latest = {version["Name"]: version for version in self._versions()}
        found = [
            version
            for name, version in sorted(latest.items())
            if name.startswith(prefix) and (is_deep or "/" not in name[len(prefix) :])
        ]
        page, more = paged(call, found, lambda version: str(version["Name"]), _BY_PATH)
        return {"Parameters": [self._parameter(version) for version in page], **more}

    def get(self, call: Call) -> Json:
        name, colon, selector = call.text("Name").partition(":")
        versions = self._of(name)
        if not colon:
            return {"Parameter": self._parameter(versions[-1])}
        for version in versions:
            if str(version["Version"]) == selector:
                return {"Parameter": self._parameter(version) | {"Selector": f":{selector}"}}
        raise ApiError("ParameterVersionNotFound", f"{name} has no version {selector}.")

    def history(self, call: Call) -> Json:
        versions = self._of(call.text("Name"))
        page, more = paged(call, versions, lambda version: str(version["Version"]), _HISTORY)
        told = [version | _more(version) | {"Labels": [], "Policies": []} for version in page]
        return {"Parameters": told, **more}

    def put(self, call: Call) -> Json:
        """Add a version; what is refused changes nothing.

        Raises:
            ApiError: name, value or type is none, or it exists and is not to be overwritten.
        """
        from filelock import FileLock  # only a writer needs it

        name, value = call.text("Name"), call.text("Value")
        _check(name, value)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            before = [version for version in self._versions() if version["Name"] == name]
            if before and not call.body.get("Overwrite"):
                raise ApiError(
                    "ParameterAlreadyExists",
                    "The parameter already exists. To overwrite this value, set the overwrite "
                    "option in the request to true.",
                )
            kind = call.text("Type", before[-1]["Type"] if before else "")
            if kind not in _TYPES:
                raise invalid("A parameter type is required when you create a parameter.")
            version = len(before) + 1
            self._append(
                {
                    "Name": name,
                    "Value": value,
                    "Type": kind,
                    "Version": version,
                    "LastModifiedDate": timestamp(),
                    "LastModifiedUser": f"arn:aws:iam::{NO_ACCOUNT}:user/{call.caller}",
                    **without_empty({"Description": call.text("Description", "")}),
                }
            )
        return {"Version": version, "Tier": "Standard"}

    def _parameter(self, version: Json) -> Json:
        names = ("Name", "Type", "Value", "Version")
        path = version["Name"].lstrip("/")
        arn = f"arn:aws:ssm:{self.region}:{NO_ACCOUNT}:parameter/{path}"
        return {name: version[name] for name in names} | _more(version, Tier=None) | {"ARN": arn}

    def _of(self, name: str) -> list[Json]:
        versions = [version for version in self._versions() if version["Name"] == name]
        if not versions:
            raise ApiError("ParameterNotFound", f"Parameter {name} not found.")
        return versions

    def _versions(self) -> list[Json]:
        """Return every version of every parameter, the oldest first."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return []
        *lines, _unfinished = text.split(b"\n")
        return [json.loads(line) for line in lines]

    def _append(self, version: Json) -> None:
        with self.path.open("ab+") as file:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            file.write(json.dumps(version, sort_keys=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _more(version: Json, **left_out: None) -> Json:
    more = {
        "LastModifiedDate": moment(version["LastModifiedDate"]),
        "DataType": "text",
        "Tier": "Standard",
    }
    return {name: value for name, value in more.items() if name not in left_out}


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise invalid(
            f"Parameter name {name!r} is none: a leading slash, then parts of letters, digits "
            "and _.- between slashes"
        )
    if not 1 <= len(value.encode()) <= _LONGEST_VALUE:
        raise invalid(f"The value of {name} has to have from 1 to {_LONGEST_VALUE} bytes.")
