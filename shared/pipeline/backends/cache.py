"""The step cache: what ran once with this content, code and parameters runs no more.

A key covers the content of inputs, the component's code and the resolved arguments,
not where things lie or when they ran. Outputs are hashed by content too, so a step
whose input was rebuilt to the same bytes is answered from the cache (early cutoff).
An entry is written last and by rename: half a step is never in the cache.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.component.files import sha256_of, write_json
from shared.component.spec import ComponentSpec
from shared.pipeline.backends.store import Store

Json = dict[str, Any]
ABSENT = "absent"  # the content of a place that holds nothing


@dataclass(frozen=True)
class Entry:
    """What a finished step left: Describe's answer, and its outputs' content by URI."""

    properties: Json
    outputs: dict[str, str]
    execution_arn: str


@dataclass
class ContentHashes:
    """Content hashes of files and folders; an unchanged file is read once only.

    The memo looks at inode, size and modification time, as git's index does.
    """

    path: Path

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        try:
            self._memo: dict[str, list[Any]] = json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):
            self._memo = {}

    def of(self, path: Path) -> str:
        """Return the identity of a file's or folder's content."""
        if path.is_file():
            return self._file(path)
        files = sorted(file for file in path.rglob("*") if file.is_file())
        if not files:
            return ABSENT
        digest = hashlib.sha256()
        for file in files:
            digest.update(f"{file.relative_to(path)}\0{self._file(file)}\n".encode())
        return digest.hexdigest()

    def save(self) -> None:
        with self._lock:
            write_json(self.path, self._memo)

    def _file(self, path: Path) -> str:
        # An output changes its name when it is published, its inode stays.
        stat = path.stat()
        stamp = f"{stat.st_dev}.{stat.st_ino}"
        seen = [stat.st_size, stat.st_mtime_ns]
        with self._lock:
            known = self._memo.get(stamp)
        if known and known[:2] == seen:
            return str(known[2])
        content = sha256_of(path)
        with self._lock:
            self._memo[stamp] = [*seen, content]
        return content


@dataclass(frozen=True)
class StepCache:
    """Finished steps by key, below `folder`."""

    folder: Path
    store: Store
    hashes: ContentHashes

    def key(self, spec: ComponentSpec, code: str, arguments: Json) -> str | None:
        """Return the step's key; None when it reads what this machine cannot look at.

        arguments: the resolved Create...Job request.
        """
        writes = set(output_uris(arguments).values())
        contents = {
            name: self.content(text) if text in writes else self._outside(spec, name, text)
            for name, text in parameters(spec, arguments).items()
        }
        if None in contents.values():
            return None
        inputs = {
            name: [
                self.hashes.of(self.store.path(source["S3Uri"])),
                source.get("S3DataDistributionType"),
            ]
            for name, source in input_sources(arguments).items()
        }
        identity = [spec.name, code, contents, inputs, instance_count(arguments)]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def find(self, key: str) -> Entry | None:
        """Return the entry if all that it promises is still there, unchanged."""
        try:
            entry = Entry(**json.loads((self.folder / f"{key}.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        is_whole = all(self.content(uri) == found for uri, found in entry.outputs.items())
        return entry if is_whole else None

    def put(self, key: str, entry: Entry) -> None:
        write_json(self.folder / f"{key}.json", asdict(entry))

    def content(self, uri: str) -> str:
        return self.hashes.of(self.store.path(uri))

    def _outside(self, spec: ComponentSpec, name: str, text: str) -> str | None:
        """Return what identifies a parameter: the text, or the content it points to."""
        port = spec.inputs.get(name)
        if port is None or port.format != "uri":
            return text
        parts = urlsplit(text)
        if parts.scheme == "file" or text.startswith("/"):
            return self.hashes.of(Path(unquote(parts.path) if parts.scheme else text))
        if parts.scheme == "s3" and self.store.path(text).exists():
            return self.content(text)
        if "://" not in text or parts.scheme == "sample":
            return text
        return None


def input_sources(arguments: Json) -> dict[str, Json]:
    """Return the S3 source of each input of a resolved job request, by name."""
    sources = {i["InputName"]: i["S3Input"] for i in arguments.get("ProcessingInputs", [])}
    for channel in arguments.get("InputDataConfig", []):
        sources[channel["ChannelName"]] = channel["DataSource"]["S3DataSource"]
    return sources


def output_uris(arguments: Json) -> dict[str, str]:
    """Return the S3 URI of each output of a resolved processing request, by name."""
    outputs = arguments.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return {output["OutputName"]: output["S3Output"]["S3Uri"] for output in outputs}


def instance_count(arguments: Json) -> int:
    if "ProcessingResources" in arguments:
        return int(arguments["ProcessingResources"]["ClusterConfig"].get("InstanceCount", 1))
    return 1  # one machine stands in for all instances of a training job


def parameters(spec: ComponentSpec, arguments: Json) -> dict[str, str]:
    """Return the component's parameters as they are sent, by port name."""
    if "HyperParameters" in arguments:
        return dict(arguments["HyperParameters"])
    ports = {port.flag: name for name, port in spec.parameters.items()}
    words = list(arguments["AppSpecification"].get("ContainerArguments", []))
    found: dict[str, str] = {}
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if not equals and words:  # somebody else's definition: `--flag value`
            value = words.pop(0)
        found[ports.get(flag, flag)] = value
    return found
