"""What requests give, and what they ask: patterns of paths, dependencies, audit entries."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request

from components.web.access import Role, Visitor, needs
from components.web.operator.asking import asking
from components.web.operator.datasets import DATASET
from components.web.operator.services import Operations

API = "/api/v1"
OPERATOR = [Depends(needs(Role.OPERATOR))]


async def operations(request: Request) -> Operations:
    """Return the sources that the application holds."""
    found: Operations = request.app.state.operations
    return found


class Diary:
    """Writes down what this visitor does; one entry for each change."""

    def __init__(self, request: Request, visitor: Visitor) -> None:
        self._log = request.app.state.audit
        self._visitor = visitor

    def write(
        self, action: str, subject: str, before: Any = None, after: Any = None, comment: str = ""
    ) -> None:
        """Write an action down.

        Raises:
            Away: it cannot be written; what was done stays done.
        """
        with asking(f"{action} of {subject} is done, but the audit log does not take it"):
            self._log.write(self._visitor.name, action, subject, before, after, comment)


async def diary(
    request: Request, visitor: Annotated[Visitor, Depends(needs(Role.OPERATOR))]
) -> Diary:
    return Diary(request, visitor)


Ops = Annotated[Operations, Depends(operations)]
Writes = Annotated[Diary, Depends(diary)]
# An execution's id, as SageMaker and the local backend make them.
RunId = Annotated[str, Path(pattern=r"^[a-z0-9]{8,64}$")]
StepName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$")]
Version = Annotated[int, Path(ge=1, le=1_000_000)]
DatasetName = Annotated[str, Path(pattern=DATASET)]
ParameterName = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,100}$")]
Limit = Annotated[int, Query(ge=1, le=100)]
# What a list said, to go on from; a token of AWS that nobody reads.
After = Annotated[str | None, Query(min_length=1, max_length=4096, pattern=r"^[!-~]+$")]
Comment = Annotated[str, "Why; kept with the decision and in the audit log."]
