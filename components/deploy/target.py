"""What a deployment needs of the place it deploys to; three modules have it.

Every call may be repeated: Step Functions tries again. What takes AWS minutes is a call that
returns false until it is done.
"""

from __future__ import annotations

from typing import Protocol

from components.deploy.golden import Ask
from components.deploy.job import Job
from components.deploy.plan import Serving


class Target(Protocol):
    """A place where a model answers."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """Names of the alarms that take a bad version back."""
        ...

    def serving(self) -> Serving:
        """Return what gets the traffic now."""
        ...

    def stage(self, job: Job) -> bool:
        """Bring the version up where no traffic goes; true: it can be tested."""
        ...

    def ask_staged(self, job: Job) -> Ask:
        """Return how to ask the version that gets no traffic."""
        ...

    def promote(self, job: Job) -> bool:
        """Begin to send traffic to the version; false: something else is being changed."""
        ...

    def is_promoted(self, job: Job) -> bool:
        """Tell whether all traffic goes to the version.

        Raises:
            PromotionError: it does not and will not: an alarm, or AWS itself, took it back.
        """
        ...

    def ask_live(self, job: Job) -> Ask:
        """Return how to ask as clients do."""
        ...

    def finish(self, job: Job) -> bool:
        """Scale, and remove what no one needs any more: all but this version and the last."""
        ...

    def roll_back(self, job: Job) -> bool:
        """Bring back what served before, remove the rest; true: it serves.

        Raises:
            RollBackError: it cannot; a person must.
        """
        ...

    def scale(self) -> str:
        """Put the operator's least number of instances in force and say what is in force."""
        ...
