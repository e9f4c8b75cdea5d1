"""One stage, deployed by `ci deploy` itself on emulators, for all end-to-end tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ci.deploy import Stage
from ci.problems import REPOSITORY
from ci.templates import load_templates, walk
from tests.e2e.emulators import MINISTACK, Emulators, running_emulators

# What MiniStack does not know; `stage` leaves them out, and a test holds the list exact.
UNKNOWN_TYPES = {"AWS::SageMaker::ModelPackageGroup", "AWS::Budgets::Budget"}
PREFIX = "visionloop-dev"


@dataclass(frozen=True)
class Deployed:
    """The stage, the lines that its deployment said, and where AWS answers."""

    emulators: Emulators
    stage: Stage
    said: list[str]

    def client(self, service: str) -> Any:
        return self.emulators.client(service)


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    if not MINISTACK.exists():
        pytest.skip("MiniStack is not installed: make .venv-tools/ministack/.ready")
    with running_emulators(tmp_path_factory.mktemp("emulators")) as running:
        yield running


@pytest.fixture(scope="session")
def stage(emulators: Emulators, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """All stacks, by the command's own code; the functions reach SageMaker at moto's address."""
    root = tmp_path_factory.mktemp("repository")
    write_repository(root)
    stage = Stage("visionloop", "dev", emulators.client, root, root / "none", pause=lambda _: None)
    said: list[str] = []
    stage.apply(GIVEN, said.append)
    return Deployed(emulators, stage, said)


# Minutes on AWS, seconds here.
GIVEN = {"DelayS": "0", "QuietS": "2"}


def write_repository(root: Path) -> None:
    """Write the repository as `ci deploy` reads it, its templates as MiniStack can take them."""
    for name in ("components", "shared", "containers"):
        (root / name).symlink_to(REPOSITORY / name)
    (root / "ci" / "stacks").mkdir(parents=True)
    for name, template in load_templates(REPOSITORY).items():
        resources = template["Resources"]
        kept = {n: body for n, body in resources.items() if body["Type"] not in UNKNOWN_TYPES}
        for policy in walk(kept):
            # The emulators speak plain HTTP, which our buckets, queues and topics refuse.
            if isinstance(statements := policy.get("Statement"), list):
                policy["Statement"] = [s for s in statements if "SecureTransport" not in str(s)]
            # MiniStack 1.5.33 authorises this action on no resource but *.
            if "ssm:GetParametersByPath" in policy.get("Action", ()):
                policy["Resource"] = "*"
        kept = {n: body for n, body in kept.items() if _statements(body)}
        text = json.dumps(template | {"Resources": kept})
        (root / "ci" / "stacks" / f"{name}.yaml").write_text(text)


def _statements(body: dict[str, Any]) -> list[Any]:
    return list(body["Properties"].get("PolicyDocument", {"Statement": [None]})["Statement"])
