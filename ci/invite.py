"""python -m ci invite: let somebody in to a stage's pages, or change or take away his role.

    python -m ci invite ada@example.com --group operator     # mails a first password
    python -m ci invite ada@example.com --group consumer     # known already: the group changes
    python -m ci invite ada@example.com --group none         # nobody's any more; the user stays

A role counts from the next login on; a session that runs keeps its own for eight hours at most.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from ci.aws import aws_errors
from ci.errors import InviteError

_GROUPS = ("consumer", "operator")  # the stack api makes them
_PAGE = 60  # the most that Cognito lists at once


def main(argv: Sequence[str]) -> int:
    """Make the user where there is none, and put him into one group."""
    parser = argparse.ArgumentParser(
        prog="python -m ci invite",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("email")
    parser.add_argument("--group", choices=[*_GROUPS, "none"], required=True)
    parser.add_argument("--project", default="visionloop", help="default: visionloop")
    parser.add_argument("--stage", default="dev", help="default: dev")
    arguments = parser.parse_args(argv)
    import boto3

    with aws_errors("invite", InviteError):
        client = boto3.client("cognito-idp")
        pool = find_pool(client, f"{arguments.project}-{arguments.stage}")
        said = invite(client, pool, arguments.email, arguments.group)
    sys.stdout.write(f"{arguments.email}: {said}\n")
    return 0


def find_pool(client: Any, name: str) -> str:
    """Return the id of a stage's user pool; client: boto3's for cognito-idp.

    Raises:
        InviteError: there is none of that name, or more than one.
    """
    pages = client.get_paginator("list_user_pools").paginate(MaxResults=_PAGE)
    found = [pool["Id"] for page in pages for pool in page["UserPools"] if pool["Name"] == name]
    if len(found) != 1:
        raise InviteError(
            f"invite: {len(found)} user pools are called {name}; `python -m ci deploy` makes one, "
            "name its stage with --stage"
        )
    return str(found[0])


def invite(client: Any, pool: str, email: str, group: str) -> str:
    """Put a user into a group and out of the others; return what was done.

    group: consumer, operator, or none.
    """
    is_new = not _is_known(client, pool, email)
    if is_new:
        attributes = [
            {"Name": "email", "Value": email},
            {"Name": "email_verified", "Value": "true"},
        ]
        client.admin_create_user(UserPoolId=pool, Username=email, UserAttributes=attributes)
    for other in _GROUPS:
        change = (
            client.admin_add_user_to_group
            if other == group
            else client.admin_remove_user_from_group
        )
        change(UserPoolId=pool, Username=email, GroupName=other)
    role = "in no group" if group == "none" else f"is {group}"
    return f"{role}; a first password is mailed" if is_new else role


def _is_known(client: Any, pool: str, email: str) -> bool:
    try:
        client.admin_get_user(UserPoolId=pool, Username=email)
    except client.exceptions.UserNotFoundException:
        return False
    return True
