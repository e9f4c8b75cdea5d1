"""What the labelling component is told: parameters, places in S3, and secrets.

Secrets come from the environment alone; they are shown, logged and written nowhere:

    LABEL_STUDIO_USER, LABEL_STUDIO_PASSWORD    a person's login, or in its place
    LABEL_STUDIO_TOKEN                          that person's personal access token
    VISIONLOOP_BACKEND_USER, _PASSWORD          what Label Studio must show the ML backend
    VISIONLOOP_WEBHOOK_SECRET                   what its webhook must show
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.component import review_queue
from shared.component.errors import InputError, UsageError

_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Place:
    """A prefix of a bucket; `prefix` is "" or ends with a slash."""

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def key(self, name: str) -> str:
        """Return the whole key of what lies below."""
        return self.prefix + name


def read_place(uri: str, port: str) -> Place:
    """Read an s3:// prefix; port: which parameter it is of.

    Raises:
        InputError: it is none.
    """
    found = _PLACE.fullmatch(uri)
    if not found:
        flag = "--" + port.replace("_", "-")
        raise InputError(f"labeling: {port} is {uri!r}; pass {flag} s3://bucket/prefix")
    prefix = (found[2] or "").strip("/")
    return Place(found[1], f"{prefix}/" if prefix else "")


@dataclass(frozen=True)
class Secrets:
    """Words that nobody sees; "" where there is none."""

    studio_user: str = field(default="", repr=False)
    studio_password: str = field(default="", repr=False)
    studio_token: str = field(default="", repr=False)
    backend_user: str = field(default="", repr=False)
    backend_password: str = field(default="", repr=False)
    webhook_secret: str = field(default="", repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Secrets:
        """Read the variables named at the top of this file."""
        return cls(
            studio_user=environ.get("LABEL_STUDIO_USER", ""),
            studio_password=environ.get("LABEL_STUDIO_PASSWORD", ""),
            studio_token=environ.get("LABEL_STUDIO_TOKEN", ""),
            backend_user=environ.get("VISIONLOOP_BACKEND_USER", ""),
            backend_password=environ.get("VISIONLOOP_BACKEND_PASSWORD", ""),
            webhook_secret=environ.get("VISIONLOOP_WEBHOOK_SECRET", ""),
        )

    @property
    def has_backend(self) -> bool:
        """Whoever calls the ML backend can be told from a stranger."""
        return bool(self.backend_user and self.backend_password and self.webhook_secret)


@dataclass(frozen=True)
class Settings:
    """The component's parameters (component.yaml), places read."""

    queue: Place
    bind: str
    port: int
    endpoint: str
    label_studio: str
    backend_url: str
    project: str
    annotations: Place | None
    labels: Place | None
    report: str
    every_s: float
    chunk: int
    concurrency: int
    deadline_s: float
    max_image_bytes: int
    blind_share: float
    overlap_percent: int
    min_alpha: float
    min_shared: int
    min_gold: float
    allow_loss: bool

    @classmethod
    def read(cls, ports: Mapping[str, Any]) -> Settings:
        """Make settings of `run`'s arguments, of which it takes its own.

        Raises:
            InputError: a place is none.
        """
        values = {name: ports[name] for name in cls.__dataclass_fields__ if name in ports}
        places = {
            name: read_place(ports[name], name) if ports[name] else None
            for name in ("annotations", "labels")
        }
        queue = read_place(ports["queue"], "queue")
        addresses = {n: ports[n].rstrip("/") for n in ("label_studio", "backend_url")}
        max_bytes = ports["max_image_mb"] << 20
        return cls(**values | places | addresses | {"queue": queue, "max_image_bytes": max_bytes})

    @property
    def images(self) -> Place:
        """Where the images of the queue lie."""
        return Place(self.queue.bucket, self.queue.key(review_queue.IMAGES))


def check_may_listen(bind: str, secrets: Secrets) -> None:
    """Refuse to answer whoever comes: without passwords only this machine is served.

    Raises:
        UsageError: there are none, and others could come.
    """
    if not secrets.has_backend and bind not in _LOOPBACK:
        raise UsageError(
            f"labeling: will not listen on {bind} without passwords; set "
            "VISIONLOOP_BACKEND_USER, VISIONLOOP_BACKEND_PASSWORD and VISIONLOOP_WEBHOOK_SECRET, "
            "or pass --bind 127.0.0.1"
        )
