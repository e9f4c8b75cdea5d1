"""Ask AWS, and say in our words when it refuses or does not answer.

Every call of a source stands in a `with asking(...)`, so that no error of boto3 or of a
store leaves the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from components.web.errors import Away, BadInput, Conflict, NotFound, WebError
from shared.component.errors import InputError, StorageError

Answer = TypeVar("Answer")
PAGES = {"PageSize": 100}  # the most that SageMaker's lists give; ten is their default
_ABSENT = ("ResourceNotFound", "ResourceNotFoundException", "ParameterNotFound", "NoSuchKey")
# SageMaker has no code of its own for most of what is not there.
_ABSENT_WORDS = ("not exist", "not find", "not found")
_REFUSED = ("ValidationException", "ValidationError", "InvalidParameterException")
_TAKEN = ("ConflictException", "ResourceInUse", "ResourceLimitExceeded")
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


@contextmanager
def asking(what: str, missing: str = "") -> Iterator[None]:
    """Turn errors of AWS and of stores into ours.

    what: whom is asked for what, for the message.
    missing: what to say where the thing is not there; "": that counts as a refusal.

    Raises:
        WebError: NotFound, Conflict, BadInput or Away.
    """
    try:
        yield
    except ClientError as err:
        raise _explained(err, what, missing) from err
    except BotoCoreError as err:
        raise Away(f"{what}: no answer ({err}); try again in a moment") from err
    except (StorageError, InputError) as err:
        raise Away(f"{what}: {err}") from err


def is_missing(err: ClientError) -> bool:
    """Tell whether AWS said that something is not there; it has several ways to say so."""
    said = err.response.get("Error", {})
    words = str(said.get("Message", "")).lower()
    return said.get("Code") in _ABSENT or any(absent in words for absent in _ABSENT_WORDS)


def _explained(err: ClientError, what: str, missing: str) -> WebError:
    said = err.response.get("Error", {})
    code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    if missing and is_missing(err):
        return NotFound(missing)
    if code in _TAKEN:
        return Conflict(f"{what}: {message}")
    if code in _REFUSED:
        return BadInput(f"{what}: refused: {message}")
    if code in _DENIED:
        return Away(f"{what}: {err.operation_name} is not allowed; give the role that permission")
    return Away(f"{what}: {err.operation_name} failed ({code}: {message}); try again in a moment")


@dataclass(frozen=True)
class Part(Generic[Answer]):
    """A part of a page: what was found, or why it cannot be shown."""

    value: Answer | None = None
    problem: str = ""
    is_absent: bool = False


def attempt(ask: Callable[[], Answer]) -> Part[Answer]:
    """Return what `ask` finds; a service that is away must not hide the other parts."""
    try:
        return Part(ask())
    except NotFound as err:
        return Part(problem=str(err), is_absent=True)
    except WebError as err:
        return Part(problem=str(err))
