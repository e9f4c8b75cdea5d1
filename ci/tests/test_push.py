"""Pushing: which repository, which tags, what is remembered; ECR's own API by moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ci.aws import aws_errors
from ci.errors import PushError
from ci.images import Options, Recipe, chosen, recipe_of
from ci.push import absent, push_images
from ci.registry import EcrRegistry, PlainRegistry, Registry, open_registry
from ci.tests.engine_fake import FakeEngine, Heard
from shared.pipeline.images import Pushed, image_uri, read_pushed
from shared.pipeline.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # moto's own
ACCOUNT = "123456789012"
ECR = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with mock_aws():
        yield boto3.Session(region_name="eu-west-1").client("ecr")


def _built(root: Path, engine: FakeEngine) -> Recipe:
    [spec] = chosen(["sheep"], root)
    recipe = recipe_of(spec, root, engine, Options())  # type: ignore[arg-type]
    engine.images[recipe.name] = {"Id": "sha256:" + "c" * 64}
    return recipe


def _push(recipe: Recipe, registry: Registry, engine: FakeEngine, home: Path) -> dict[str, Pushed]:
    return push_images([recipe], registry, engine, home, Heard())  # type: ignore[arg-type]


def test_a_repository_is_made_with_immutable_tags_and_scans(
    farm: Path, tmp_path: Path, client: Any
) -> None:
    engine = FakeEngine()
    recipe = _built(farm, engine)
    pushed = _push(recipe, EcrRegistry(ECR, client), engine, tmp_path)
    [repository] = client.describe_repositories()["repositories"]
    assert repository["repositoryName"] == "visionloop/sheep"
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert pushed["sheep"].uri == f"{ECR}/visionloop/sheep@sha256:{'d' * 64}"
    assert [name for name, _ in engine.pushed] == [
        f"{ECR}/visionloop/sheep:{recipe.code}",
        f"{ECR}/visionloop/sheep:{recipe.tag}",
    ]


def test_the_password_goes_to_the_engine_alone(farm: Path, tmp_path: Path, client: Any) -> None:
    engine = FakeEngine()
    _push(_built(farm, engine), EcrRegistry(ECR, client), engine, tmp_path)
    token = {"username": "AWS", "password": f"{ACCOUNT}-auth-token"}
    assert [credentials for _, credentials in engine.pushed] == [token, token]
    assert "auth-token" not in (tmp_path / "images.json").read_text()


def test_a_tag_that_ecr_has_is_not_pushed_again(farm: Path, tmp_path: Path, client: Any) -> None:
    engine = FakeEngine()
    recipe = _built(farm, engine)
    client.create_repository(repositoryName="visionloop/sheep")
    manifest = {"schemaVersion": 2, "mediaType": "m", "config": {}, "layers": []}
    for tag in (recipe.tag, recipe.code):
        put = client.put_image(
            repositoryName="visionloop/sheep", imageManifest=json.dumps(manifest), imageTag=tag
        )
    pushed = _push(recipe, EcrRegistry(ECR, client), engine, tmp_path)
    assert engine.pushed == []
    assert pushed["sheep"].uri.endswith("@" + put["image"]["imageId"]["imageDigest"])


def test_what_the_registry_has_is_not_even_built(farm: Path, tmp_path: Path, client: Any) -> None:
    engine = FakeEngine()
    recipe = _built(farm, engine)
    registry = PlainRegistry("127.0.0.1:5000", engine)  # type: ignore[arg-type]
    assert absent([recipe], registry) == [recipe]
    assert absent([recipe], EcrRegistry(ECR, client)) == [recipe], "no repository yet"
    first = _push(recipe, registry, engine, tmp_path)
    assert absent([recipe], registry) == []
    engine.untag(recipe.name)  # another machine, which never built it
    assert _push(recipe, registry, engine, tmp_path) == first


def test_a_shared_registrys_path_comes_before_the_repository(
    farm: Path, tmp_path: Path, client: Any
) -> None:
    engine = FakeEngine()
    registry = EcrRegistry(f"{ECR}/team", client)
    pushed = _push(_built(farm, engine), registry, engine, tmp_path)
    [repository] = client.describe_repositories()["repositories"]
    assert repository["repositoryName"] == "team/visionloop/sheep"
    assert pushed["sheep"].uri.startswith(f"{ECR}/team/visionloop/sheep@sha256:")


@pytest.mark.parametrize(
    ("path", "tags"),
    [
        ("/visionloop-dev", {"project": "visionloop", "stage": "dev", "stack": "registry"}),
        ("/my-house-prod/more", {"project": "my-house", "stage": "prod", "stack": "registry"}),
        ("/team", {}),
        ("", {}),
    ],
)
def test_a_repository_below_a_stage_carries_its_tags(
    client: Any, path: str, tags: dict[str, str]
) -> None:
    EcrRegistry(f"{ECR}{path}", client).prepare("visionloop/train")
    (repository,) = client.describe_repositories()["repositories"]
    arn = repository["repositoryArn"]
    found = client.list_tags_for_resource(resourceArn=arn)["tags"]
    assert {tag["Key"]: tag["Value"] for tag in found} == {"managed-by": "visionloop", **tags}


def test_a_registry_that_refuses_is_told_with_the_component(farm: Path, tmp_path: Path) -> None:
    engine = FakeEngine(refusal="denied: requested access to the resource is denied")
    registry = PlainRegistry("127.0.0.1:5000", engine)  # type: ignore[arg-type]
    with pytest.raises(
        PushError, match=r"sheep: push: 127\.0\.0\.1:5000/visionloop/sheep:\w+ is r"
    ):
        _push(_built(farm, engine), registry, engine, tmp_path)
    assert not (tmp_path / "images.json").exists()
    assert not any(name.startswith("127.0.0.1") for name in engine.images), "a name is left behind"


def test_definitions_take_the_digest_while_the_code_is_what_was_pushed(
    farm: Path, tmp_path: Path
) -> None:
    engine = FakeEngine()
    registry = PlainRegistry("127.0.0.1:5000/team", engine)  # type: ignore[arg-type]
    recipe = _built(farm, engine)
    settings = Settings(home=tmp_path, root=farm, explicit_registry="127.0.0.1:5000/team")
    by_tag = f"127.0.0.1:5000/team/visionloop/sheep:{recipe.code}"
    assert image_uri(recipe.spec, settings) == by_tag
    pushed = _push(recipe, registry, engine, tmp_path)
    assert image_uri(recipe.spec, settings) == pushed["sheep"].uri
    assert "@sha256:" in pushed["sheep"].uri
    other = replace(settings, explicit_registry="127.0.0.1:5001/team")
    assert image_uri(recipe.spec, other) == by_tag.replace("5000", "5001")
    (farm / "components/sheep/component.py").write_text("SHEEP = 2\n")
    assert image_uri(recipe.spec, settings).startswith("127.0.0.1:5000/team/visionloop/sheep:")


def test_what_was_pushed_before_stays_on_record(farm: Path, tmp_path: Path) -> None:
    engine = FakeEngine()
    registry = PlainRegistry("127.0.0.1:5000", engine)  # type: ignore[arg-type]
    recipe = _built(farm, engine)
    _push(recipe, registry, engine, tmp_path)
    goat = replace(recipe, spec=replace(recipe.spec, name="goat"))
    _push(goat, registry, engine, tmp_path)
    assert read_pushed(tmp_path).keys() == {"goat", "sheep"}


def test_the_registry_is_the_accounts_unless_one_is_named(client: Any) -> None:
    engine: Any = FakeEngine()
    settings = Settings(region="eu-west-1")
    assert open_registry("", settings, engine).prefix == ECR
    plain = open_registry("127.0.0.1:5000/team/", settings, engine)
    assert plain == PlainRegistry("127.0.0.1:5000/team", engine)
    named = replace(settings, explicit_registry=f"{ECR}/team")
    assert isinstance(open_registry("", named, engine), EcrRegistry)


def test_missing_credentials_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    engine: Any = FakeEngine()
    with (
        pytest.raises(PushError, match="set AWS_PROFILE and AWS_REGION or run"),
        aws_errors("push", PushError),
    ):
        open_registry("", Settings(), engine)


def test_an_account_that_may_not_is_told_so(client: Any) -> None:
    registry = EcrRegistry(ECR, client)
    with (
        pytest.raises(PushError, match=r"AWS refuses: .*see the rights of your role"),
        aws_errors("push", PushError),
    ):
        registry.prepare("no repository's name!")
