"""Parameter Store: durable, one version after the other, and read by what reads AWS's."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from shared.component.operator import ParameterStore, read_operator
from shared.pipeline.local_aws.call import Call
from shared.pipeline.local_aws.parameters import Parameters
from shared.pipeline.local_aws.tests.conftest import Place
from shared.pipeline.settings import REPOSITORY

PATH = "/visionloop/local/operator"
NAME = f"{PATH}/Minimum-F1-Score"


def _put(path: Path, value: str, name: str = NAME) -> int:
    body = {"Name": name, "Value": value, "Type": "String", "Overwrite": True}
    return int(Parameters(path, "us-east-1").put(Call(body))["Version"])


def test_operators_are_obeyed_and_the_last_good_value_stays(place: Place) -> None:
    client = place.client("ssm")
    store = ParameterStore(client, PATH)
    assert read_operator(store).number("Minimum-F1-Score") == 0.8
    for value in ("0.9", "nonsense"):
        client.put_parameter(Name=NAME, Value=value, Type="String", Overwrite=True)
    found = read_operator(store)
    assert found.number("Minimum-F1-Score") == 0.9
    assert len(found.problems) == 1


def test_a_history_tells_who_wrote_what_and_when(place: Place) -> None:
    for number, caller in enumerate(["ann", "bob"], 1):
        answer = place.client("ssm", caller).put_parameter(
            Name=NAME, Value=str(number), Type="String", Overwrite=True
        )
        assert answer["Version"] == number
    versions = place.client("ssm").get_parameter_history(Name=NAME)["Parameters"]
    assert [each["LastModifiedUser"].rpartition("/")[2] for each in versions] == ["ann", "bob"]
    assert [(each["Version"], each["Value"]) for each in versions] == [(1, "1"), (2, "2")]
    assert all(
        datetime.now(UTC) - each["LastModifiedDate"] < timedelta(minutes=1) for each in versions
    )
    assert place.client("ssm").get_parameter(Name=f"{NAME}:1")["Parameter"]["Value"] == "1"


def test_a_path_is_read_in_pages_and_as_deep_as_asked(place: Place) -> None:
    client = place.client("ssm")
    names = {f"/a/{number:02}" for number in range(25)}
    for name in [*names, "/a/deep/er", "/ab/c"]:
        client.put_parameter(Name=name, Value="1", Type="String")
    pages = client.get_paginator("get_parameters_by_path")

    def read(**more: object) -> set[str]:
        found = [page["Parameters"] for page in pages.paginate(Path="/a", **more)]
        assert max(map(len, found)) == 10
        return {each["Name"] for page in found for each in page}

    assert read() == names
    assert read(Recursive=True) == names | {"/a/deep/er"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"Name": "/known", "Value": "2", "Type": "String"}, "ParameterAlreadyExists"),
        ({"Name": "/new", "Value": "2"}, "ValidationException"),
        ({"Name": "/new/../x y", "Value": "2", "Type": "String"}, "ValidationException"),
        ({"Name": "/new", "Value": "2" * 4097, "Type": "String"}, "ValidationException"),
    ],
)
def test_what_is_refused_changes_nothing(place: Place, body: dict[str, str], code: str) -> None:
    client = place.client("ssm")
    client.put_parameter(Name="/known", Value="1", Type="String")
    before = (place.home / "parameters.jsonl").read_bytes()
    with pytest.raises(ClientError) as refused:
        client.put_parameter(**body)
    assert refused.value.response["Error"]["Code"] == code
    assert (place.home / "parameters.jsonl").read_bytes() == before


@pytest.mark.parametrize("operation", ["get_parameter", "get_parameter_history"])
def test_a_missing_parameter_is_said_as_aws_says_it(place: Place, operation: str) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(place.client("ssm"), operation)(Name="/none")
    assert refused.value.response["Error"]["Code"] == "ParameterNotFound"


def test_a_line_that_a_killed_writer_left_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "parameters.jsonl"
    assert _put(path, "1") == 1
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    read = Parameters(path, "us-east-1").get(Call({"Name": NAME}))
    assert read["Parameter"]["Value"] == "1"
    assert _put(path, "2") == 2
    assert path.read_bytes().startswith(whole)
    assert path.read_bytes().count(b"\n") == 2


def test_writers_of_several_processes_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "parameters.jsonl"
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from shared.pipeline.local_aws.call import Call\n"
        "from shared.pipeline.local_aws.parameters import Parameters\n"
        "for number in range(20):\n"
        "    body = {'Name': '/x', 'Value': str(number), 'Type': 'String', 'Overwrite': True}\n"
        "    Parameters(Path(sys.argv[1]), 'us-east-1').put(Call(body))\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    writers = [subprocess.Popen(command, cwd=REPOSITORY) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    versions = Parameters(path, "us-east-1").history(Call({"Name": "/x", "MaxResults": 50}))
    more = Parameters(path, "us-east-1").history(
        Call({"Name": "/x", "NextToken": versions["NextToken"]})
    )
    numbers = [each["Version"] for each in versions["Parameters"] + more["Parameters"]]
    assert numbers == list(range(1, 61))
