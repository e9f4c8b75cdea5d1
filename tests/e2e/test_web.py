"""The pages under their function's role, IAM enforced: what they do works, nothing else does."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from starlette.testclient import TestClient

from ci.deploy import _next_steps
from ci.problems import REPOSITORY
from ci.templates import load_templates, substituted
from components.web.app import build, guarded
from components.web.clients import Clients
from components.web.settings import Settings, read_key
from components.web.tests.house import PNG, FakeModel, csrf_in
from shared.component import review_queue
from shared.component.spec import load_spec
from tests.e2e.conftest import PREFIX, Deployed
from tests.e2e.emulators import ACCOUNT, REGION

pytestmark = pytest.mark.e2e
_ROLE = f"{PREFIX}-web"
# The function's own, but for the login: nobody here has a browser.
_IN_PLACE = {"login": "dev", "public_url": "", "session_key": ""}


@pytest.fixture
def keys(stage: Deployed) -> Iterator[dict[str, str]]:
    """Give the keys of a user who may do what the function's role may."""
    iam = stage.client("iam")
    policy = iam.get_role_policy(RoleName=_ROLE, PolicyName="show-and-do")["PolicyDocument"]
    document = policy if isinstance(policy, str) else json.dumps(policy)
    iam.create_user(UserName="test-web")
    iam.put_user_policy(UserName="test-web", PolicyName="as-the-role", PolicyDocument=document)
    key = iam.create_access_key(UserName="test-web")["AccessKey"]
    yield {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    iam.delete_access_key(UserName="test-web", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="test-web", PolicyName="as-the-role")
    iam.delete_user(UserName="test-web")


@pytest.fixture
def settings() -> Settings:
    """Read what the template tells the function."""
    function = load_templates(REPOSITORY)["api"]["Resources"]["Function"]["Properties"]
    words = {
        "Project": "visionloop",
        "Stage": "dev",
        "AWS::AccountId": ACCOUNT,
        "AWS::Region": REGION,
        "WebModel": "",
        "LabelStudioUrl": "",
    }
    told = {
        name.removeprefix("VISIONLOOP_").lower(): substituted(value, words)
        for name, value in function["Environment"]["Variables"].items()
    }
    spec = load_spec(REPOSITORY / "components" / "web")
    assert told.keys() <= spec.inputs.keys()
    ports = {
        name: port.parse((told | _IN_PLACE).get(name, port.default), "web")
        for name, port in spec.inputs.items()
    }
    return Settings.read(ports, {"AWS_REGION": REGION})


@pytest.fixture
def operator(
    stage: Deployed, settings: Settings, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> TestClient:
    """Return an operator's browser on pages that have the role's rights alone."""
    for name, value in {**stage.emulators.environ(), **keys}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the last user's keys
    app = build(settings, Clients(REGION), "k" * 40, ask=FakeModel())
    browser = TestClient(guarded(app, settings), base_url="http://127.0.0.1")
    form = {"csrf": csrf_in(browser.get("/login").text), "role": "operator", "name": "op"}
    page = browser.post("/login", data=form)
    browser.headers["x-csrf-token"] = csrf_in(page.text)
    return browser


def test_feedback_comes_to_the_queue(
    stage: Deployed, settings: Settings, operator: TestClient
) -> None:
    receipt = operator.post("/api/v1/predictions", content=PNG).json()["receipt"]
    answer = operator.post("/api/v1/feedback?said=sea", content=PNG, headers={"x-receipt": receipt})
    assert answer.status_code == 201, answer.text
    key = f"{PREFIX}/{review_queue.task_key(hashlib.sha256(PNG).hexdigest())}"
    found = stage.client("s3").get_object(Bucket=stage.stage.bucket("capture"), Key=key)
    assert json.loads(found["Body"].read())["said"] == "sea"


def test_an_operator_tunes_what_the_stack_made(operator: TestClient) -> None:
    listed = operator.get("/api/v1/parameters")
    assert listed.status_code == 200, listed.text
    address = "/api/v1/parameters/Minimum-Untrained-Images"
    before = operator.get(address).json()["value"]
    changed = operator.put(address, json={"value": 25, "comment": "fewer runs"})
    assert (changed.status_code, changed.json()["value"]) == (200, "25"), changed.text
    assert operator.put(address, json={"value": before}).status_code == 200
    entries = operator.get("/api/v1/audit").json()["entries"]
    assert [(e["after"], e["before"]) for e in entries[:2]] == [(before, "25"), ("25", before)]


def test_a_data_set_is_uploaded_and_told_to_be_whole(stage: Deployed, operator: TestClient) -> None:
    assert operator.post("/api/v1/datasets", json={"name": "from-the-page"}).status_code == 200
    put = operator.post(
        "/api/v1/datasets/from-the-page/files",
        params={"path": "sea/1.png"},
        content=PNG,
        headers={"content-type": "application/octet-stream"},
    )
    assert put.status_code == 201, put.text
    done = operator.post("/api/v1/datasets/from-the-page/complete", json={"files": 1})
    assert done.status_code == 200, done.text
    s3, bucket = stage.client("s3"), stage.stage.bucket("data")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="raw/from-the-page/")["Contents"]
    assert [entry["Key"].rpartition("page/")[2] for entry in listed] == ["_SUCCESS", "sea/1.png"]
    for entry in listed:
        s3.delete_object(Bucket=bucket, Key=entry["Key"])


def test_the_labelling_page_shows_what_is_there(operator: TestClient) -> None:
    answer = operator.get("/api/v1/labelling")
    assert answer.status_code == 200, answer.text


def test_sessions_are_signed_by_the_stacks_secret(
    stage: Deployed, settings: Settings, operator: TestClient
) -> None:
    """The operator is here for the keys in the environment."""
    arn = stage.client("secretsmanager").describe_secret(SecretId=f"{PREFIX}-session-key")["ARN"]
    ports = {name: getattr(settings, name) for name in Settings.__dataclass_fields__}
    named = Settings.read(ports | {"session_key": arn}, {"AWS_REGION": REGION})
    assert len(read_key(named, Clients(REGION).secret, {})) == 64


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("data", "labels/current.json"),
        ("data", "annotations/1"),
        ("capture", f"{PREFIX}/review/gold.json"),
        ("capture", f"{PREFIX}/review/audit/{'a' * 64}.json"),
        ("artifacts", "retrain/state.json"),
        ("artifacts", "deploy/lock.json"),
    ],
)
def test_the_pages_may_not_write_what_is_not_theirs(
    stage: Deployed, keys: dict[str, str], bucket: str, key: str
) -> None:
    given = {name.lower(): value for name, value in keys.items()}
    s3: Any = stage.emulators.client("s3", **given)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=stage.stage.bucket(bucket), Key=key, Body=b"x")


def test_the_pages_may_tune_operators_parameters_alone(
    stage: Deployed, keys: dict[str, str]
) -> None:
    given = {name.lower(): value for name, value in keys.items()}
    ssm = stage.emulators.client("ssm", **given)
    name = "/visionloop/dev/stack/registry/PipelineRoleArn"
    with pytest.raises(ClientError, match="AccessDenied"):
        ssm.put_parameter(Name=name, Value="x", Overwrite=True)


def test_whoever_deploys_is_told_where_the_pages_are(stage: Deployed) -> None:
    said = _next_steps(stage.stage)
    assert re.search(r"pages: https?://[^ ]+\n", said)
    assert "python -m ci invite" in said
