"""What a thing to remove is, what is ours, and how AWS is asked.

Ours is what carries the project's tags and its name: `P-S` or `P-S-...`. `visionloop-dev2`
is somebody else, and so is whatever has the name but not the tags.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from ci.errors import CleanupError
from shared.pipeline.cost import Prices

Json = dict[str, Any]
_GONE_CODES = ("NotFound", "NoSuch", "NonExistent", "DoesNotExist")
_GONE_WORDS = ("does not exist", "could not find", "cannot find", "not found")
_POLL_S = 5.0


@dataclass(frozen=True)
class Scope:
    """Whose things are meant.

    nobodys: names of ours without a project's tag, seen on the way: left alone, and told.
    """

    project: str
    stage: str
    nobodys: set[str] = field(default_factory=set, compare=False)

    @property
    def name(self) -> str:
        return f"{self.project}-{self.stage}"

    def has_name(self, name: str) -> bool:
        return name == self.name or name.startswith(f"{self.name}-")

    def owns(self, name: str, tags: Mapping[str, str]) -> bool:
        """Tell whether name and tags are ours.

        The exact name needs no stage's tag: pipeline.py, which knows no stages, makes it.
        """
        if self.has_name(name) and "project" not in tags:
            self.nobodys.add(name)
        stage = tags.get("stage", self.stage if name == self.name else "")
        return self.has_name(name) and self.has_tags({**tags, "stage": stage})

    def has_tags(self, tags: Mapping[str, str]) -> bool:
        return (tags.get("project"), tags.get("stage")) == (self.project, self.stage)


@dataclass(frozen=True)
class Item:
    """One thing to remove.

    size: in words; monthly_usd: what it costs by being there, None: not known.
    """

    id: str
    size: str = ""
    created: datetime | None = None
    monthly_usd: float | None = 0.0


class Kind(Protocol):
    """One kind of thing; `name` is what a person calls it."""

    @property
    def name(self) -> str: ...

    def items(self) -> Iterable[Item]:
        """Return what is there and ours."""
        ...

    def delete(self, item: Item) -> None:
        """Remove one; what is gone already is fine, or raises what `is_gone` knows."""
        ...


@dataclass(frozen=True)
class Aws:
    """How AWS is asked; `connect` makes a boto3 client for a service.

    pause, clock: seconds; a test gives its own.
    patience_s: how long an end that AWS takes its time for is waited for.
    """

    scope: Scope
    prices: Prices
    connect: Callable[[str], Any]
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    patience_s: float = 900.0
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.connect(service)
        return self._clients[service]

    def pages(self, service: str, operation: str, key: str, **request: Any) -> Iterator[Any]:
        """Yield the entries of every page of a listing."""
        for page in self.client(service).get_paginator(operation).paginate(**request):
            yield from page.get(key) or ()

    def wait_until(self, is_done: Callable[[], bool], what: str) -> None:
        """Wait for an end.

        Raises:
            CleanupError: it does not come in time.
        """
        end = self.clock() + self.patience_s
        while not is_done():
            if self.clock() > end:
                raise CleanupError(
                    f"cleanup: {what} is still there after {self.patience_s:g} s; "
                    "run the command again, it goes on where it was"
                )
            self.pause(_POLL_S)


def is_gone(err: Exception) -> bool:
    """Tell whether AWS says that something is not there; every service has its own word."""
    error: Json = getattr(err, "response", {}).get("Error", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", "")).lower()
    is_named = any(word in code for word in _GONE_CODES)
    is_said = code.startswith("Validation") and any(word in message for word in _GONE_WORDS)
    return is_named or is_said


def tags_from(listed: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Return tags as a mapping, whichever way a service spells the list."""
    return {
        tag.get("Key") or tag.get("TagKey") or tag.get("key", ""): tag.get("Value")
        or tag.get("TagValue")
        or tag.get("value", "")
        for tag in listed or ()
    }


def from_ms(milliseconds: float | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def in_bytes(count: float) -> str:
    """Return a size as a person reads it: 1.5 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
