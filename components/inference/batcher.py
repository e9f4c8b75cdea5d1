"""Hand waiting requests to the workers, several at once.

A forward pass of several images costs little more than one of one, so what comes while the
workers are busy makes the next batch, and a batch is held for a moment while some of those
that lately came together are still away: clients that ask again as soon as they are answered
come back within milliseconds. Where those do not, holding is given up and tried now and then.
Alone, nobody waits. A full batch need not wait for a free worker: one a worker waits in
multi-model-server, so that none stands idle meanwhile.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from components.inference.records import Counts
from components.inference.upstream import Upstream, UpstreamError
from components.inference.wire import Head, Reply, pack_requests, unpack_replies

_FULL_BATCHES_PER_WORKER = 2  # one at work, one behind it
_FORGETTING = 0.1  # of what is no longer seen, with every batch
_LEARNING = 0.1  # of what the last hold gained
_WORTHWHILE = 0.5  # holding pays where half of those who are waited for come
_RECOVERY = 0.01  # with every batch that was not held: a failed hold is followed by five
# A batch is split where its answers could be more than multi-model-server takes.
_BATCH_BYTES = 1 << 20
_NO_WORKER = b"ServiceUnavailableException"  # multi-model-server's own; a dead worker's has none


class WorkerError(Exception):
    """The worker died of the batch, or was given up."""


@dataclass(frozen=True)
class BatchLimits:
    """How batches are made.

    size: requests in one.
    delay_s: how long a request waits, at most, for others that are expected.
    timeout_s: for an answer, waiting in the model server included.
    """

    workers: int
    size: int
    delay_s: float
    timeout_s: float


@dataclass(eq=False)
class _Waiting:
    head: Head
    body: bytes
    reply: asyncio.Future[Reply] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class _Patience:
    """Whether holding batches has paid lately."""

    def __init__(self) -> None:
        self._gain = 1.0  # of those waited for, the share that came
        self._begun: tuple[int, int] | None = None

    def is_worthwhile(self) -> bool:
        """Tell whether to hold a batch; the question itself brings a next attempt nearer."""
        if self._begun is None and self._gain < _WORTHWHILE:
            self._gain += _RECOVERY
            return False
        return True

    def begin(self, waiting: int, expected: int) -> None:
        self._begun = self._begun or (waiting, expected - waiting)

    def end(self, waiting: int) -> None:
        """Learn from a hold, where there was one."""
        if self._begun is not None:
            before, missing = self._begun
            self._begun = None
            came = min(1.0, (waiting - before) / missing)
            self._gain += _LEARNING * (came - self._gain)


class Batcher:
    """The way to the workers."""

    def __init__(
        self,
        upstream: Upstream,
        path: str,
        limits: BatchLimits,
        count: Callable[[Counts], None] = lambda _: None,
    ) -> None:
        """Send to `path`; `count` is told what workers have not reported themselves."""
        self._upstream = upstream
        self._count = count
        self._path = path
        self._limits = limits
        self._waiting: deque[_Waiting] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._inside = 0  # waiting or sent
        self._at_once = 0.0  # how many are inside when it is full, of late
        self._patience = _Patience()

    async def ask(self, head: Head, body: bytes) -> Reply:
        """Return a worker's reply to one request.

        Raises:
            UpstreamError: there is no worker, or no model server.
            WorkerError: the worker did not survive, or not in time.
        """
        waiting = _Waiting(head, body)
        self._waiting.append(waiting)
        self._inside += 1
        self._at_once = max(self._at_once, self._inside)
        try:
            self._send_what_may_go()
            return await waiting.reply
        finally:
            self._inside -= 1

    def _send_what_may_go(self) -> None:
        while self._is_room():
            if self._is_to_hold():
                self._patience.begin(len(self._waiting), self.expected)
                self._timer = self._timer or asyncio.get_running_loop().call_later(
                    self._limits.delay_s, self._send_late
                )
                return
            self._send_batch()

    def _is_to_hold(self) -> bool:
        is_short = len(self._waiting) < self.expected and self._inside < round(self._at_once)
        return is_short and self._limits.delay_s > 0 and self._patience.is_worthwhile()

    def _is_room(self) -> bool:
        if len(self._waiting) >= self._limits.size:
            return len(self._sending) < _FULL_BATCHES_PER_WORKER * self._limits.workers
        return bool(self._waiting) and len(self._sending) < self._limits.workers

    @property
    def expected(self) -> int:
        """Return how many a worker gets at a time when all that lately came share the workers."""
        return min(self._limits.size, math.ceil(round(self._at_once) / self._limits.workers))

    def _send_late(self) -> None:
        """Send a batch smaller than expected: its time is up."""
        self._timer = None
        if self._is_room():
            self._send_batch()
        self._send_what_may_go()

    def _send_batch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._patience.end(len(self._waiting))
        self._at_once -= _FORGETTING * (self._at_once - self._inside)
        if batch := self._take():
            task = asyncio.create_task(self._send(batch))
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _take(self) -> list[_Waiting]:
        """Take the next batch; who gave up waiting is left out."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < self._limits.size:
            size += len(self._waiting[0].body)
            if batch and size > _BATCH_BYTES:
                break
            waiting = self._waiting.popleft()
            if not waiting.reply.done():
                batch.append(waiting)
        return batch

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._send_what_may_go()

    async def _send(self, batch: list[_Waiting]) -> None:
        try:
            replies = await self._exchange(batch)
        except (UpstreamError, WorkerError) as err:
            for waiting in batch:
                if not waiting.reply.done():
                    waiting.reply.set_exception(err)
            return
        for waiting, reply in zip(batch, replies, strict=True):
            if not waiting.reply.done():  # done: the client's time was up
                waiting.reply.set_result(reply)

    async def _exchange(self, batch: list[_Waiting]) -> list[Reply]:
        message = pack_requests([(waiting.head, waiting.body) for waiting in batch])
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                answer = await self._upstream.request("POST", self._path, "", message)
        except TimeoutError as err:
            raise WorkerError("no answer in time") from err
        if answer.status == 200:
            replies, counts = unpack_replies(answer.body)
            self._count(counts)
            return replies
        if _NO_WORKER in answer.body:
            raise UpstreamError("no worker")
        raise WorkerError(f"multi-model-server answers {answer.status}")
