"""Lambda as far as deployments use it: an image function, its versions and aliases.

Behaviour from the API reference: a change makes the function Pending or InProgress for some
looks at it and is refused meanwhile; a version is published only of what has changed.
docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from components.deploy.tests.fake_sagemaker import Brain, Json, RefusalError, answer

_PATH = re.compile(
    r"/2015-03-31/functions(?:/(?P<name>[^/]+)(?:/(?P<part>[a-z]+)(?:/(?P<alias>[^/]+))?)?)?/?"
)


@dataclass
class FakeLambda:
    """One function at most.

    looks: how often it is looked at until a change is done.
    resolves_to: what its image's tag means; "": what was given.
    on_alias: called with what an alias is told.
    """

    brains: dict[str, Brain]
    looks: int = 1
    resolves_to: str = ""
    update_fails: str = ""
    on_alias: Callable[[Json], object] = dict.copy
    latest: Json = field(default_factory=dict)
    versions: dict[str, Json] = field(default_factory=dict)
    aliases: dict[str, Json] = field(default_factory=dict)
    invoked: list[str] = field(default_factory=list)
    calls: list[tuple[str, Json]] = field(default_factory=list)
    _count: int = 0
    _left: int = 0
    _revision: int = 0

    def serve(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        """Answer a request of the REST API."""
        found = _PATH.fullmatch(path)
        assert found, path
        given = json.loads(body) if body else {}
        part, qualifier = found["part"] or "", query.get("Qualifier", "$LATEST")
        self.calls.append((f"{method} {part}", given))
        if not found["name"]:
            return self._create(given)
        if not self.latest:
            raise RefusalError("ResourceNotFoundException", "Function not found", 404)
        if part == "aliases":
            return self._alias(method, found["alias"] or given.get("Name", ""), given)
        handlers: dict[tuple[str, str], Callable[[], Any]] = {
            ("GET", ""): lambda: self._get(qualifier),
            ("GET", "configuration"): lambda: self._look(qualifier),
            ("PUT", "code"): lambda: self._change(given, "ImageUri"),
            ("PUT", "configuration"): lambda: self._change(given, "Environment"),
            ("POST", "versions"): lambda: self._publish(given),
            ("GET", "versions"): lambda: {"Versions": [self._shown(self.latest), *self._all()]},
            ("DELETE", ""): lambda: self._delete(qualifier),
            ("POST", "invocations"): lambda: self._invoke(qualifier, given),
        }
        return handlers[method, part]()

    def _create(self, given: Json) -> Json:
        assert not self.latest
        self.latest = given | {"Version": "$LATEST", "Description": "", **given["Code"]}
        self._touch("Pending", "Successful")
        return self._shown(self.latest)

    def _look(self, qualifier: str) -> Json:
        if qualifier == "$LATEST" and self._left:
            self._left -= 1
            if not self._left:
                self.latest |= {"State": "Active", "LastUpdateStatus": "Successful"}
                if self.update_fails:
                    self.latest |= {
                        "LastUpdateStatus": "Failed",
                        "LastUpdateStatusReason": self.update_fails,
                    }
        return self._shown(self._version(qualifier))

    def _get(self, qualifier: str) -> Json:
        version = self._version(qualifier)
        image = version["ImageUri"]
        code = {"ImageUri": image, "ResolvedImageUri": self.resolves_to or image}
        return {"Configuration": self._shown(version), "Code": code}

    def _change(self, given: Json, key: str) -> Json:
        if self._left:
            raise RefusalError("ResourceConflictException", "An update is in progress", 409)
        self.latest |= given | {key: given[key]}
        self._touch("Active", "InProgress")
        return self._shown(self.latest)

    def _publish(self, given: Json) -> Json:
        assert given["RevisionId"] == self.latest["RevisionId"], "something else is published"
        same = [v for v in self.versions.values() if self._content(v) == self._content(self.latest)]
        if same:
            return self._shown(same[0])
        self._count += 1
        number = str(self._count)
        self.versions[number] = self.latest | {
            "Version": number,
            "Description": given.get("Description", ""),
        }
        return self._shown(self.versions[number])

    def _delete(self, qualifier: str) -> Json:
        pointed = [a["FunctionVersion"] for a in self.aliases.values()]
        assert qualifier not in pointed, "an alias points there"
        self._version(qualifier)
        del self.versions[qualifier]
        return {}

    def _alias(self, method: str, name: str, given: Json) -> Json:
        if method == "POST":
            assert name not in self.aliases
            self.aliases[name] = {"Name": name, **given}
        elif name not in self.aliases:
            raise RefusalError("ResourceNotFoundException", f"Cannot find alias {name}", 404)
        elif method == "DELETE":
            return self.aliases.pop(name)
        elif method == "PUT":
            self.on_alias(given)
            self.aliases[name] |= given
        return self.aliases[name]

    def _invoke(self, qualifier: str, event: Json) -> Json:
        assert event["custom_attributes"] == "record=false"
        alias = self.aliases.get(qualifier)
        number = alias["FunctionVersion"] if alias else qualifier
        self.invoked.append(number)
        uri = self._version(number)["Environment"]["Variables"]["VISIONLOOP_MODEL_URI"]
        return answer(self.brains[uri], json.dumps(event).encode())

    def _version(self, qualifier: str) -> Json:
        if qualifier == "$LATEST":
            return self.latest
        if qualifier not in self.versions:
            raise RefusalError("ResourceNotFoundException", "Function not found", 404)
        return self.versions[qualifier]

    def _all(self) -> list[Json]:
        return [self._shown(version) for version in self.versions.values()]

    def _touch(self, state: str, status: str) -> None:
        self._left = self.looks + 1
        self._revision += 1
        self.latest |= {
            "State": state,
            "LastUpdateStatus": status,
            "RevisionId": str(self._revision),
        }

    @staticmethod
    def _content(version: Json) -> tuple[Any, Any]:
        return version["ImageUri"], version["Environment"]

    @staticmethod
    def _shown(version: Json) -> Json:
        return {k: v for k, v in version.items() if k not in ("Code", "ImageUri", "Tags")}
