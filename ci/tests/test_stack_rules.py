"""The rules see what they are for, and the house's own stacks keep them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.parameters import check_parameters, fix_parameters
from ci.problems import REPOSITORY
from ci.stack_rules import check_stacks

ROLE = """
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: !Sub "${Project}-${Stage}-role"
      Policies:
        - PolicyDocument:
            Statement:
              - Effect: Allow
                Action: [s3:GetObject]
                # The reason.
                Resource: "*"
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "ci" / "stacks").mkdir(parents=True)
    (tmp_path / "ci" / "stacks" / "x.yaml").write_text(text)
    return [problem.message for problem in check_stacks(tmp_path)]


def test_the_stacks_keep_the_rules() -> None:
    assert list(check_stacks(REPOSITORY)) == []


def test_a_reason_makes_it_right(tmp_path: Path) -> None:
    assert problems(tmp_path, ROLE) == []


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("                # The reason.\n", "", "needs its reason"),
        (
            '# The reason.\n                Resource: "*"',
            'Resource:\n                  - "*"',
            "needs",
        ),
        ('# The reason.\n                Resource: "*"', 'Resource: ["*"]', "needs its reason"),
        ("s3:GetObject", "s3:*", "name each action"),
        ("s3:GetObject", "s3:Get*", "name each action"),
        ('"${Project}-${Stage}-role"', '"role-of-${Stage}"', "RoleName begins with"),
    ],
)
def test_what_breaks_a_rule_is_named(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in ROLE
    (found,) = problems(tmp_path, ROLE.replace(before, after))
    assert message in found


def test_generated_parameters_are_held_to_their_table(tmp_path: Path) -> None:
    folder = tmp_path / "ci" / "stacks"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("before\n<!-- operator -->\nold\n<!-- /operator -->\nafter\n")
    assert len(list(check_parameters(tmp_path))) == 2
    fix_parameters(tmp_path)
    assert list(check_parameters(tmp_path)) == []
    text = (folder / "README.md").read_text()
    assert text.startswith("before\n<!-- operator -->\n| parameter |")
    assert text.endswith("<!-- /operator -->\nafter\n")
    (folder / "parameters.yaml").write_text((folder / "parameters.yaml").read_text() + "#")
    (problem,) = check_parameters(tmp_path)
    assert "stale" in problem.message
