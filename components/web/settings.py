"""What the pages are told: ports of component.yaml; secrets come from elsewhere.

VISIONLOOP_WEB_KEY   signs sessions where no secret's ARN is given; at least 32 characters
AWS_REGION           of what is asked
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from shared.component.errors import InputError, UsageError

COGNITO = "cognito"
CLOUDWATCH = "cloudwatch"
KEY_VARIABLE = "VISIONLOOP_WEB_KEY"
_LEAST_KEY = 32
# docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackageGroup.html
_NAME = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Settings:
    """One process's settings, named as the ports are."""

    name: str
    endpoint: str
    bind: str
    port: int
    login: str
    public_url: str
    issuer: str
    client_id: str
    session_key: str
    session_hours: float
    sink: str
    metrics: str
    operator_path: str
    audit_log: str
    labels: str
    label_report: str
    label_studio: str
    raw: str
    max_image_mb: int
    requests_per_minute: int
    feedback_per_day: int
    region: str = "us-east-1"

    @classmethod
    def read(cls, ports: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
        """Return the settings that belong together.

        Raises:
            InputError: no pipeline can have that name.
            UsageError: the login does not fit the address, or lacks what it needs.
        """
        region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        settings = cls(
            **{f.name: ports[f.name] for f in fields(cls) if f.name in ports} | {"region": region}
        )
        settings._check(is_on_lambda="AWS_LAMBDA_RUNTIME_API" in environ)
        return settings

    @property
    def model(self) -> str:
        """Name of what predicts."""
        return self.endpoint or self.name

    @property
    def is_secure(self) -> bool:
        """Browsers come over HTTPS."""
        return self.public_url.startswith("https://")

    @property
    def hosts(self) -> list[str]:
        """Return the names under which browsers may ask: no other site's that leads here."""
        public = urlsplit(self.public_url).hostname
        return [public] if public else ["127.0.0.1", "localhost", "[::1]"]

    @property
    def max_body_bytes(self) -> int:
        return self.max_image_mb << 20

    def _check(self, is_on_lambda: bool) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"web: no pipeline is called {self.name!r}; pass --name: letters, digits, dashes"
            )
        if self.login == COGNITO:
            for name in ("public_url", "issuer", "client_id"):
                if not getattr(self, name):
                    raise UsageError(
                        f"web: login cognito needs {name}; pass --{name.replace('_', '-')}"
                    )
            if not self.is_secure and urlsplit(self.public_url).hostname not in _LOOPBACK:
                raise UsageError(f"web: public_url is {self.public_url}; sessions need https://")
        elif self.bind not in _LOOPBACK or is_on_lambda or self.public_url:
            raise UsageError(
                "web: login dev lets everybody in and serves this machine alone; pass "
                "--bind 127.0.0.1 without --public-url, or --login cognito"
            )


def read_key(settings: Settings, secret: Any, environ: Mapping[str, str] = os.environ) -> str:
    """Return the key that signs sessions.

    secret: returns the text of a secret by its ARN.
    Raises:
        UsageError: the key is too short to keep anybody out.
    """
    if settings.session_key:
        key = str(secret(settings.session_key))
    else:
        key = environ.get(KEY_VARIABLE, "") or secrets.token_hex(_LEAST_KEY)
    if len(key) < _LEAST_KEY:
        raise UsageError(f"web: the session key has {len(key)} characters; give {_LEAST_KEY}")
    return key
