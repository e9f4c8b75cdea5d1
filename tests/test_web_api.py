"""The JSON API of the pages over the local AWS, by its own OpenAPI: whatever somebody sends.

One run of a pipeline of fakes has left what there is to see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from starlette.testclient import TestClient

from components.web.app import guarded
from components.web.clients import Clients
from components.web.tests.house import ADDRESS, PNG, House, open_house
from shared.component.storage import S3_ROOT_VARIABLE
from shared.pipeline.local_aws.runtime import Route
from shared.pipeline.local_aws.server import local_aws
from shared.pipeline.local_aws.tests.conftest import TOKEN, client, make, wait_until
from shared.pipeline.tests.conftest import Workshop

GROUP = "visionloop"
EXAMPLES = 15
AWAY = (502, 503)  # told of somebody behind the pages; documented
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CONFORMS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
DOCUMENT: dict[str, Any] = open_house().app.openapi()
OPERATIONS = sorted(
    (path, method.upper()) for path, ways in DOCUMENT["paths"].items() for method in ways
)
TAKING = [  # what takes nothing cannot be given anything wrong
    (path, method)
    for path, method in OPERATIONS
    if DOCUMENT["paths"][path][method.lower()].keys() & {"parameters", "requestBody"}
]
SENT = [(*each, "positive") for each in OPERATIONS] + [(*each, "negative") for each in TAKING]
RAW = ("application/octet-stream", "image/jpeg", "image/png", "image/webp")
CONSUMERS = {"/api/v1/session", "/api/v1/predictions", "/api/v1/feedback"}


class LocalClients(Clients):
    """boto3's clients of one address."""

    def __init__(self, url: str) -> None:
        super().__init__("us-east-1")
        self._url = url

    def _make(self, service: str) -> Any:
        return client(self._url, service)


@dataclass(frozen=True)
class Place:
    """The pages of a machine, and an operator who has logged in."""

    house: House
    run: str
    operator: TestClient

    @property
    def who(self) -> dict[str, Any]:
        return {
            "headers": {"x-csrf-token": self.operator.headers["x-csrf-token"]},
            "cookies": dict(self.operator.cookies),
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    workshop = make(tmp_path_factory.mktemp("place"))
    assert workshop.start("-p", "TrainDataset=sample://one", "-p", "Epochs=30")[0] == 0
    with (
        pytest.MonkeyPatch.context() as patch,
        local_aws(workshop.settings, Route(), environ=workshop.environ) as url,
    ):
        patch.setenv(S3_ROOT_VARIABLE, str(workshop.home / "s3"))
        house = open_house(LocalClients(url), **_places(workshop.home))
        operator = house.visitor("operator")
        run = operator.get("/api/v1/runs").json()["runs"][0]["id"]
        yield Place(house, run, operator)
        wait_until(lambda: _all_over(workshop))


def _places(home: Path) -> dict[str, Any]:
    return {
        "name": GROUP,
        "sink": str(home / "sink"),
        "audit_log": str(home / "audit"),
        "operator_path": "/visionloop/local/operator",
        "labels": "s3://data/labels",
        "label_report": "s3://data/report",
        "raw": "s3://data/raw",
        "requests_per_minute": 1_000_000,
    }


def _all_over(workshop: Workshop) -> bool:
    states = [execution.status for execution in workshop.backend.list(GROUP)]
    return not {"Executing", "Stopping"} & set(states)


@pytest.mark.parametrize(("path", "method", "mode"), SENT, ids=lambda part: part)
def test_whatever_is_sent_the_answer_is_as_the_document_says(
    place: Place, path: str, method: str, mode: str
) -> None:
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method]
    app = guarded(place.house.app, place.house.settings)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
    def hold(case: schemathesis.Case[Any]) -> None:
        _lead_to_what_is_there(case, place.run)
        answer = case.call(base_url=ADDRESS, app=app, **place.who)
        assert answer.status_code < 500 or answer.status_code in AWAY, answer.text
        checks = [CHECKS.get_one(name) for name in CONFORMS]
        case.validate_response(answer, checks=checks)

    hold()


def _lead_to_what_is_there(case: schemathesis.Case[Any], run: str) -> None:
    """Let half of the names and images be such as there are; start one run alone."""
    if isinstance(case.body, dict) and "token" in case.body and case.path == "/api/v1/runs":
        case.body["token"] = TOKEN
    for name, found in case.path_parameters.items():
        if name in (known := _known(run)) and _is_odd(found):
            case.path_parameters[name] = known[name]
    if case.media_type in RAW and _is_odd(case.body):
        case.body = PNG
    for given_ in (case.query, case.body):
        if isinstance(given_, dict) and _is_odd(given_.get("path")) and "path" in given_:
            given_["path"] = "red/photo.png"


def _is_odd(value: object) -> bool:
    """Tell half of all values from the others, the same ones in every process."""
    return crc32(repr(value).encode()) % 2 == 1


def _known(run: str) -> dict[str, str]:
    return {"run": run, "version": "1", "step": "Train", "name": "Minimum-F1-Score"}


@pytest.mark.parametrize("path", sorted(DOCUMENT["paths"]))
def test_a_method_that_the_document_does_not_have_is_refused(place: Place, path: str) -> None:
    for method in METHODS:
        if method.lower() in DOCUMENT["paths"][path]:
            continue
        answer = place.operator.request(method, _filled(path, place.run), content=b"{}")
        assert answer.status_code == 405, (method, answer.text)
        assert answer.headers["allow"]


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda part: part)
def test_an_operation_lets_in_nobody_whom_it_is_not_for(
    place: Place, path: str, method: str
) -> None:
    outsider = place.house.outsider(follow_redirects=False)
    consumer = place.house.visitor("consumer")
    target = _filled(path, place.run)
    answer = outsider.request(method, target, content=b"{}")
    assert (answer.status_code, answer.json()["error"]) == (401, "NotLoggedIn")
    answer = consumer.request(method, target, content=b"{}")
    if path in CONSUMERS:
        assert answer.status_code not in (401, 403)
    else:
        assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")


def _filled(path: str, run: str) -> str:
    return path.format(**_known(run))
