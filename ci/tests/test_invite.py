"""Users of a stage's pages: made once, in one group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ci.__main__ import main

EMAIL = "ada@example.com"


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str]]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("cognito-idp", "us-east-1")
        client.create_user_pool(PoolName="another-dev")
        made = client.create_user_pool(PoolName="visionloop-dev", UsernameAttributes=["email"])
        identity = made["UserPool"]["Id"]
        for group in ("consumer", "operator"):
            client.create_group(UserPoolId=identity, GroupName=group)
        yield client, identity


def groups(pool: tuple[Any, str]) -> list[str]:
    client, identity = pool
    found = client.admin_list_groups_for_user(UserPoolId=identity, Username=EMAIL)
    return [group["GroupName"] for group in found["Groups"]]


def test_somebody_new_is_made_and_put_into_his_group(
    pool: tuple[Any, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["invite", EMAIL, "--group", "operator"]) == 0
    assert capsys.readouterr().out == f"{EMAIL}: is operator; a first password is mailed\n"
    assert groups(pool) == ["operator"]
    (user,) = pool[0].list_users(UserPoolId=pool[1])["Users"]
    assert {"Name": "email_verified", "Value": "true"} in user["Attributes"]


@pytest.mark.parametrize(("group", "left"), [("consumer", ["consumer"]), ("none", [])])
def test_somebody_known_changes_his_group_and_gets_no_password(
    pool: tuple[Any, str], capsys: pytest.CaptureFixture[str], group: str, left: list[str]
) -> None:
    main(["invite", EMAIL, "--group", "operator"])
    capsys.readouterr()
    assert main(["invite", EMAIL, "--group", group]) == 0
    assert "password" not in capsys.readouterr().out
    assert groups(pool) == left
    assert len(pool[0].list_users(UserPoolId=pool[1])["Users"]) == 1


def test_a_stage_without_a_pool_is_one_line(
    pool: tuple[Any, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["invite", EMAIL, "--group", "operator", "--stage", "prod"]) == 1
    assert (
        "0 user pools are called visionloop-prod; `python -m ci deploy`" in capsys.readouterr().err
    )
