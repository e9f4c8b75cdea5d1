"""One deployment at a time, with S3's conditional writes as moto enforces them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from moto import mock_aws

from components.deploy.lock import Lock

BUCKET = "visionloop-dev-artifacts"


@pytest.fixture
def s3() -> Iterator[Any]:
    with mock_aws():
        client = boto3.Session("testing", "testing", region_name="us-east-1").client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client


def test_the_first_has_it_until_it_gives_it_back(s3: Any) -> None:
    lock = Lock(s3, BUCKET, {"one", "two"}.__contains__)
    assert lock.take("one")
    assert lock.take("one"), "a second attempt of the same execution"
    assert not lock.take("two")
    lock.release("two")
    assert not lock.take("two"), "only its holder gives it back"
    lock.release("one")
    assert lock.take("two")
    lock.release("one")
    assert not lock.take("three")


def test_it_is_taken_from_an_execution_that_has_ended(s3: Any) -> None:
    running = {"one"}
    lock = Lock(s3, BUCKET, lambda execution: execution in running)
    assert lock.take("one")
    running.clear()
    assert lock.take("two")
    running.add("two")
    assert not lock.take("three")


def test_of_many_who_take_it_from_a_dead_holder_one_gets_it(s3: Any) -> None:
    dead = {"dead"}
    lock = Lock(s3, BUCKET, lambda execution: execution not in dead)
    lock.take("dead")
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lock.take, [str(number) for number in range(16)]))
    assert taken.count(True) == 1


def test_who_reads_a_dead_holder_too_late_does_not_get_it(s3: Any) -> None:
    quick = Lock(s3, BUCKET, {"quick"}.__contains__)
    quick.take("dead")

    def is_running(execution: str) -> bool:
        assert execution == "dead"
        assert quick.take("quick"), "between the slow one's look and its write"
        return False

    assert not Lock(s3, BUCKET, is_running).take("slow")
    assert quick.take("quick")
