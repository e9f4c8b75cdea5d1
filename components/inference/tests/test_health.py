"""What /ping may promise."""

from __future__ import annotations

import asyncio

from components.inference.health import Health
from components.inference.upstream import UpstreamError


class Server:
    """A model server as Health sees it; time is `now`."""

    def __init__(self, ready: int = 2, probe: bool | Exception = True) -> None:
        self.now, self.ready, self.answer = 100.0, ready, probe
        self.probes = 0
        self.health = Health(self._ready, self._probe, clock=lambda: self.now)

    async def _ready(self) -> int:
        return self.ready

    async def _probe(self) -> bool:
        self.probes += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def is_healthy(self) -> bool:
        return asyncio.run(self.health.is_healthy())


def test_nothing_is_promised_before_every_worker_has_proven_itself() -> None:
    server = Server()
    assert not server.is_healthy()
    server.health.start()
    assert server.is_healthy()
    server.health.stop()
    assert not server.is_healthy()


def test_no_ready_worker_is_ill_at_once_and_one_is_enough() -> None:
    server = Server()
    server.health.start()
    server.ready = 0
    assert not server.is_healthy()
    server.ready, server.now = 1, server.now + 1
    assert server.is_healthy()


def test_a_recent_answer_spares_the_probe_and_an_old_one_does_not() -> None:
    server = Server()
    server.health.start()
    assert server.is_healthy()
    assert server.probes == 0
    server.now += 60
    assert server.is_healthy()
    assert server.is_healthy()
    assert server.probes == 1


def test_a_wrong_or_missing_answer_is_ill() -> None:
    for answer in (False, UpstreamError("gone"), TimeoutError()):
        server = Server(probe=answer)
        server.health.start()
        server.now += 60
        assert not server.is_healthy(), answer


def test_a_busy_server_that_answers_clients_is_well() -> None:
    server = Server(probe=TimeoutError())
    server.health.start()
    server.now += 60
    original = server.health._probe

    async def answered_meanwhile() -> bool:
        server.health.note_answer()
        return await original()

    server.health._probe = answered_meanwhile
    assert server.is_healthy()
