"""What is ours, what is gone, and when removing ends: the decisions of clean-up alone."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from ci.cleanup.command import remove_all, take_stock
from ci.cleanup.inventory import Item, Scope, is_gone
from ci.cleanup.storage import log_groups

TAGS = {"project": "visionloop", "stage": "dev"}


def test_what_is_made_anew_while_the_rest_goes_is_taken_in_the_next_pass() -> None:
    class Hydra:
        name = "head"

        def __init__(self) -> None:
            self.heads, self.grown = ["a"], 0

        def items(self) -> Iterator[Item]:
            return iter([Item(head) for head in self.heads])

        def delete(self, item: Item) -> None:
            self.heads.remove(item.id)
            if self.grown < 2:
                self.grown += 1
                self.heads.append(f"grown {self.grown}")

    kind = Hydra()
    assert remove_all([kind], take_stock([kind]), io.StringIO())[1].is_empty


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("visionloop-dev", True),
        ("visionloop-dev-data", True),
        ("visionloop-dev2", False),
        ("visionloop-dev2-data", False),
        ("visionloop-developer", False),
        ("my-visionloop-dev", False),
        ("visionloop", False),
    ],
)
def test_a_name_is_ours_whole_or_up_to_a_dash(name: str, is_ours: bool) -> None:
    assert Scope("visionloop", "dev").owns(name, TAGS) is is_ours


@pytest.mark.parametrize(
    ("name", "tags", "is_ours"),
    [
        ("visionloop-dev-x", {}, False),
        ("visionloop-dev-x", {"project": "visionloop"}, False),
        ("visionloop-dev-x", {"project": "visionloop", "stage": "prod"}, False),
        ("visionloop-dev", {"project": "visionloop"}, True),
        ("visionloop-dev", {"project": "visionloop", "stage": "prod"}, False),
        ("visionloop-dev", {"project": "other"}, False),
        ("visionloop-dev", {}, False),
    ],
)
def test_tags_decide_with_the_name(name: str, tags: dict[str, str], is_ours: bool) -> None:
    assert Scope("visionloop", "dev").owns(name, tags) is is_ours


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("ResourceNotFoundException", "", True),
        ("NoSuchBucket", "", True),
        ("AWS.SimpleQueueService.NonExistentQueue", "", True),
        ("ValidationException", "Could not find endpoint", True),
        ("ValidationError", "Stack with id x does not exist", True),
        ("ValidationException", "Cannot update in-progress endpoint", False),
        ("AccessDeniedException", "x does not exist or you may not", False),
        ("ThrottlingException", "", False),
    ],
)
def test_gone_is_told_from_refused(code: str, message: str, expected: bool) -> None:
    err = ClientError({"Error": {"Code": code, "Message": message}}, "Delete")
    assert is_gone(err) is expected


def test_untagged_log_groups_are_known_by_whole_names_out_of_the_templates() -> None:
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {"FunctionName": {"Fn::Sub": "${Project}-${Stage}-retrain"}},
    }
    found = log_groups({"triggers": {"Resources": {"F": function}}}, "visionloop", "dev")
    assert found == {
        "/aws/lambda/visionloop-dev-retrain",
        "/aws/lambda/visionloop-dev-predict",
        "/aws/sagemaker/Endpoints/visionloop-dev",
    }
