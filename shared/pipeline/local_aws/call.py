"""One call of AWS's JSON protocol: what was asked, and lists cut into pages."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from shared.pipeline.local_aws.errors import ApiError, invalid

Json = dict[str, Any]
Item = TypeVar("Item")
_SAGEMAKER_PAGE = 100  # largest and default size of SageMaker's lists
# SageMaker's own patterns. They also keep a name from being a path to somewhere else.
_NAME = re.compile(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9]){0,255}")


@dataclass(frozen=True)
class Call:
    """The members of a request, and who signed it.

    caller: the access key's id; nobody has checked it.
    """

    body: Json
    caller: str = "local"

    def text(self, member: str, default: str | None = None) -> str:
        """Return a string.

        Raises:
            ApiError: it is missing and has no default, or is something else.
        """
        value = self.body.get(member, default)
        if value is None:
            raise _broken(member, "Member must not be null")
        if not isinstance(value, str):
            raise _broken(member, "Member must be a string")
        return value

    def name(self, member: str) -> str:
        """Return a name of SageMaker's, or the last part of an ARN.

        Raises:
            ApiError: it is none.
        """
        value = self.text(member)
        name = value.rpartition("/")[2] if value.startswith("arn:") else value
        if not _NAME.fullmatch(name):
            raise _broken(
                member, f"Member must satisfy regular expression pattern: {_NAME.pattern}"
            )
        return name

    def whole(self, member: str, default: int, most: int) -> int:
        """Return a whole number from 1.

        Raises:
            ApiError: it is none, or too large.
        """
        value = self.body.get(member, default)
        if not isinstance(value, int) or not 1 <= value <= most:
            raise _broken(member, f"Member must be a whole number from 1 to {most}")
        return value

    def one_of(self, member: str, default: str, choices: Sequence[str]) -> str:
        """Return one of an enumeration.

        Raises:
            ApiError: it is none of them.
        """
        value = self.text(member, default)
        if value not in choices:
            raise _broken(member, f"Member must satisfy enum value set: [{', '.join(choices)}]")
        return value


# Answers one operation.
Operation = Callable[[Call], Json]
Operations = Mapping[str, Operation]


@dataclass(frozen=True)
class Page:
    """How a list is cut: the service's largest page and its word for a bad token."""

    most: int = _SAGEMAKER_PAGE
    bad_token: str = "ValidationException"  # noqa: S105 - an error code


def paged(
    call: Call, items: Sequence[Item], key: Callable[[Item], str], page: Page | None = None
) -> tuple[Sequence[Item], Json]:
    """Return a page, and the member NextToken where there is more.

    The token names the last item of a page, so what is added meanwhile moves nothing.

    Raises:
        ApiError: the token is none of ours.
    """
    page = page or Page()
    size = call.whole("MaxResults", page.most, page.most)
    start = 0
    if token := call.text("NextToken", ""):
        keys = [key(item) for item in items]
        last = _last_item(token)
        if last not in keys:
            raise ApiError(page.bad_token, "Invalid NextToken")
        start = keys.index(last) + 1
    found = items[start : start + size]
    if start + size >= len(items):
        return found, {}
    return found, {"NextToken": base64.urlsafe_b64encode(key(found[-1]).encode()).decode()}


def _last_item(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, UnicodeError):
        return ""


def is_ascending(call: Call, default: str) -> bool:
    return call.one_of("SortOrder", default, ("Ascending", "Descending")) == "Ascending"


def moment(text: str) -> float:
    """Return an ISO time as the protocol has times: seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def is_within(call: Call, seconds: float) -> bool:
    """Tell whether a time is between CreatedAfter and CreatedBefore, where these are given."""
    after, before = call.body.get("CreatedAfter"), call.body.get("CreatedBefore")
    try:
        return (after is None or seconds > float(after)) and (
            before is None or seconds < float(before)
        )
    except (TypeError, ValueError) as err:
        raise invalid("CreatedAfter and CreatedBefore are seconds since 1970") from err


def without_empty(body: Json) -> Json:
    """Leave out what AWS leaves out: empty texts and what is unknown."""
    return {key: value for key, value in body.items() if value not in (None, "")}


def _broken(member: str, constraint: str) -> ApiError:
    where = member[:1].lower() + member[1:]
    return invalid(
        f"1 validation error detected: Value at '{where}' failed to satisfy constraint: "
        f"{constraint}"
    )
