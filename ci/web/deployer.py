"""Bring what is approved to the endpoint, blue/green, as components/deploy does on AWS.

Wanted is always the newest approved package. It is started beside what serves, proves
itself on its golden images (/ping), gets the traffic, and then the old one ends, after the
answers it still owes. What does not come up changes nothing, and is not tried again until
the registry changes. plan.py decides; this does what it says and remembers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ci.packages import LocalPackage, approved, archive_of
from ci.serve import is_healthy
from ci.served import free_port
from ci.web.plan import Action, Health, plan
from ci.web.programs import Program
from shared.component.errors import VisionloopError
from shared.pipeline.execution import timestamp
from shared.pipeline.local_aws.runtime import Route
from shared.pipeline.local_aws.serving import Deployment, Serving
from shared.pipeline.registry import ModelPackage
from shared.pipeline.settings import Settings

log = logging.getLogger(__name__)
_TICK_S = 0.5
_BUSY_TICK_S = 0.1  # while a process starts or ends
_START_S = 180.0
_PING_S = 2.0
_DRAIN_S = 75.0  # an invocation may take 60
_END_S = 30.0
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0  # who served so long has not crashed at once

# Starts what serves a package on a port.
Launch = Callable[[LocalPackage, int], Program]


@dataclass
class _Unit:
    """A deployment and its process."""

    package: ModelPackage
    deployment: Deployment
    program: Program
    port: int
    since: float = field(default_factory=time.monotonic)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.since

    def health(self) -> Health:
        if not self.program.is_running:
            return Health.ENDED
        if is_healthy(self.port, _PING_S):
            return Health.READY
        return Health.LATE if self.age_s > _START_S else Health.STARTING


@dataclass
class Deployer:
    """Watches registry and processes; all but `close` runs in one thread.

    name: of the endpoint and of the model package group.
    """

    settings: Settings
    name: str
    route: Route
    launch: Launch
    _live: _Unit | None = None
    _candidate: _Unit | None = None
    _leaving: list[_Unit] = field(default_factory=list)
    _approved: list[ModelPackage] = field(default_factory=list)
    _stamp: object = None
    _failed: set[str] = field(default_factory=set)
    _served: ModelPackage | None = None
    _failure: str = ""
    _crashes: int = 0
    _retry_at: float = 0.0
    _current: Deployment | None = None
    _known: dict[str, Deployment] = field(default_factory=dict)

    def __post_init__(self) -> None:
        before = Serving.load(self.settings.home)
        if before and before.endpoint == self.name:
            self._current = before.current
            self._known = {each.package: each for each in before.known}

    def run(self, stop: threading.Event) -> None:
        """Look again and again until told to stop, then end what was started."""
        try:
            while not stop.is_set():
                try:
                    self.tick()
                except (VisionloopError, OSError) as err:
                    log.error("deploy: %s", err)
                is_busy = self._candidate is not None or self._leaving
                stop.wait(_BUSY_TICK_S if is_busy else _TICK_S)
        finally:
            self.close()

    def tick(self) -> None:
        """Look once, and do the next step."""
        self._read()
        self._look_after_live()
        self._let_go()
        newest = self._newest()
        health = self._candidate.health() if self._candidate else Health.STARTING
        package = newest.arn if newest else ""
        action = plan(_arn(self._live), package, _arn(self._candidate), health)
        if action is Action.START and newest and time.monotonic() >= self._retry_at:
            self._start(newest)
        elif action is Action.SWITCH:
            self._switch()
        elif action is Action.ABANDON:
            self._abandon()
        elif action is Action.FAIL and self._candidate:
            late = f"no answer to /ping within {_START_S:.0f} s"
            reason = self._candidate.program.reason() if health is Health.ENDED else late
            self._fail(self._candidate, reason)
        self._save()

    def close(self) -> None:
        """End everything that was started."""
        self.route.switch("")
        for unit in [*self._leaving, self._candidate, self._live]:
            if unit:
                unit.program.end()

    def _read(self) -> None:
        """Read the registry where it has changed; then what failed may be tried again."""
        try:
            stat = (self.settings.home / "registry.json").stat()
        except FileNotFoundError:
            return
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if stamp == self._stamp:
            return
        self._approved = approved(self.settings, self.name)
        self._stamp = stamp
        self._failed, self._failure = set(), ""
        if self._live and self._served and not self._approved:
            self._failure = f"version {self._served.version} was withdrawn, and none is approved"
            log.warning("deploy: %s: it goes on serving", self._failure)

    def _newest(self) -> ModelPackage | None:
        """Return what is wanted: where nothing good is approved, what serves goes on."""
        good = (package for package in self._approved if package.arn not in self._failed)
        return next(good, self._served)

    def _look_after_live(self) -> None:
        """See that what serves has not died; `plan` starts it again, after a pause."""
        unit = self._live
        if unit is None or unit.program.is_running:
            return
        self.route.switch("")
        self._live = None
        self._crashes = 0 if unit.age_s > _STEADY_S else self._crashes
        self._pause(f"version {unit.deployment.version} has died: {unit.program.reason()}")
        unit.program.kill()  # what it may have left behind

    def _pause(self, failure: str) -> None:
        """Wait before the next attempt, longer each time; the first is made at once."""
        pause_s = min(_LONGEST_PAUSE_S, 2.0**self._crashes - 1)
        self._failure, self._retry_at = failure, time.monotonic() + pause_s
        self._crashes += 1
        log.error("deploy: %s; again in %.0f s", failure, pause_s)

    def _start(self, package: ModelPackage) -> None:
        known = self._known.get(package.arn)
        deployment = known or Deployment(
            package.version, package.arn, package.model_data_url, timestamp()
        )
        self._known[package.arn] = deployment
        log.info("deploy: starting %s version %d", self.name, package.version)
        try:
            found = LocalPackage(package, archive_of(self.settings, package))
            port = free_port()
            self._candidate = _Unit(package, deployment, self.launch(found, port), port)
        except VisionloopError as err:
            self._refuse(package, str(err))

    def _switch(self) -> None:
        new, old = self._candidate, self._live
        assert new is not None  # noqa: S101 - the plan has seen it
        self.route.switch(new.url)
        self._live, self._candidate, self._served = new, None, new.package
        self._current = new.deployment
        if not self._failed:
            self._failure = ""
        if old:
            self._leave(old)
        log.info("deploy: %s version %d serves", self.name, new.deployment.version)

    def _abandon(self) -> None:
        unit, self._candidate = self._candidate, None
        if unit:
            log.info("deploy: version %d is wanted no more", unit.deployment.version)
            self._leave(unit)

    def _fail(self, unit: _Unit, reason: str) -> None:
        self._candidate = None
        self._leave(unit)
        if self._served and unit.package.arn == self._served.arn and self._live is None:
            self._pause(f"version {unit.deployment.version} does not come back: {reason}")
        else:
            self._refuse(unit.package, reason)

    def _refuse(self, package: ModelPackage, reason: str) -> None:
        self._failed.add(package.arn)
        self._failure = f"version {package.version} does not come up: {reason}"
        serves = f"version {self._current.version}" if self._live and self._current else "nothing"
        log.error("deploy: %s; %s serves", self._failure, serves)

    def _leave(self, unit: _Unit) -> None:
        unit.since = time.monotonic()
        self._leaving.append(unit)

    def _let_go(self) -> None:
        """End what has no traffic any more once it owes no answer."""
        for unit in self._leaving:
            if self.route.in_flight(unit.url) == 0 or unit.age_s > _DRAIN_S:
                unit.program.ask_to_end()
            if unit.age_s > _DRAIN_S + _END_S:
                unit.program.kill()
        self._leaving = [unit for unit in self._leaving if unit.program.is_running]

    def _status(self) -> str:
        if self._live:
            return "Updating" if self._candidate else "InService"
        if self._candidate:
            return "Updating" if self._served else "Creating"
        return "Updating" if self._served else "Failed"

    def _save(self) -> None:
        """Write what is so, where it has changed."""
        before = Serving.load(self.settings.home)
        if not (self._known or (before and before.endpoint == self.name)):
            return  # nothing was ever deployed
        now = timestamp()
        is_ours = before is not None and before.endpoint == self.name
        nothing = f"no approved model package of {self.name} serves"
        status = self._status()
        serving = Serving(
            endpoint=self.name,
            status=status,
            created=before.created if before and is_ours else now,
            modified=before.modified if before and is_ours else now,
            current=self._current,
            pending=self._candidate.deployment if self._candidate else None,
            failure=self._failure or (nothing if status == "Failed" else ""),
            known=tuple(self._known.values()),
        )
        if serving != before:
            replace(serving, modified=now).save(self.settings.home)


def _arn(unit: _Unit | None) -> str:
    return unit.package.arn if unit else ""
