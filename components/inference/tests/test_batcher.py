"""Requests become batches, and every client gets its own reply or its own error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from components.inference.batcher import Batcher, BatchLimits, WorkerError
from components.inference.records import Counts
from components.inference.upstream import Answer, UpstreamError
from components.inference.wire import (
    Head,
    Reply,
    pack_replies,
    pack_requests,
    unpack_replies,
    unpack_requests,
)

HEAD = Head("id", 7, "image/jpeg", "", "top-k=1")


class Server:
    """Answers every request with its own body, when it may."""

    def __init__(self, answer: Answer | Exception | None = None) -> None:
        self.answer = answer
        self.batches: list[list[bytes]] = []
        self.may_answer = asyncio.Event()

    async def request(self, method: str, path: str, headers: str = "", body: bytes = b"") -> Answer:
        assert (method, path, headers) == ("POST", "/model", "")
        requests = unpack_requests(body)
        self.batches.append([body for _, body in requests])
        await self.may_answer.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        replies = [Reply(200, "t", "", head.request_id.encode() + body) for head, body in requests]
        counts = {"Label": {"sea": len(replies)}}
        return self.answer or Answer(200, {}, pack_replies(replies, counts))


def batcher(
    server: Server, size: int = 4, delay_s: float = 0, timeout_s: float = 5, workers: int = 1
) -> Batcher:
    limits = BatchLimits(workers=workers, size=size, delay_s=delay_s, timeout_s=timeout_s)
    return Batcher(server, "/model", limits)  # type: ignore[arg-type]


def run(
    story: Callable[[Server], Awaitable[None]], answer: Answer | Exception | None = None
) -> None:
    async def told() -> None:
        await story(Server(answer))

    asyncio.run(told())


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_waits_goes_together_and_comes_back_each_to_its_own() -> None:
    async def story(server: Server) -> None:
        way = batcher(server)
        asked = [asyncio.create_task(way.ask(HEAD, b"%d" % n)) for n in range(9)]
        await settle()
        # One at work, and a full one behind it.
        assert server.batches == [[b"0"], [b"1", b"2", b"3", b"4"]]
        server.may_answer.set()
        assert [reply.body for reply in await asyncio.gather(*asked)] == [
            b"id%d" % n for n in range(9)
        ]
        assert [len(batch) for batch in server.batches] == [1, 4, 4]

    run(story)


def test_what_workers_have_counted_is_told_batch_by_batch() -> None:
    async def story(server: Server) -> None:
        told: list[Counts] = []
        limits = BatchLimits(workers=1, size=4, delay_s=0, timeout_s=5)
        way = Batcher(server, "/model", limits, told.append)  # type: ignore[arg-type]
        asked = [asyncio.create_task(way.ask(HEAD, b"")) for _ in range(4)]
        await settle()
        server.may_answer.set()
        await asyncio.gather(*asked)
        assert told == [{"Label": {"sea": 1}}, {"Label": {"sea": 3}}]

    run(story)


def test_who_gave_up_is_left_out_and_spoils_nothing() -> None:
    async def story(server: Server) -> None:
        way = batcher(server)
        asked = [asyncio.create_task(way.ask(HEAD, b"%d" % n)) for n in range(4)]
        await settle()
        asked[0].cancel()  # on its way
        asked[2].cancel()  # waiting
        await settle()
        server.may_answer.set()
        said = await asyncio.gather(*asked, return_exceptions=True)
        assert [r.body for r in said if isinstance(r, Reply)] == [b"id1", b"id3"]
        assert server.batches == [[b"0"], [b"1", b"3"]]

    run(story)


def test_large_bodies_travel_alone() -> None:
    async def story(server: Server) -> None:
        way = batcher(server)
        large = bytes(700_000)
        asked = [asyncio.create_task(way.ask(HEAD, large)) for _ in range(5)]
        server.may_answer.set()
        await asyncio.gather(*asked)
        assert [len(batch) for batch in server.batches] == [1] * 5

    run(story)


def test_who_came_together_lately_is_waited_for() -> None:
    async def story(server: Server) -> None:
        way = batcher(server, delay_s=60)
        asked = [asyncio.create_task(way.ask(HEAD, b"%d" % n)) for n in range(3)]
        await settle()
        server.may_answer.set()
        await settle()
        assert server.batches == [[b"0"]]  # two wait and three are expected
        asked.append(asyncio.create_task(way.ask(HEAD, b"3")))
        await asyncio.wait_for(asyncio.gather(*asked), 5)
        assert server.batches == [[b"0"], [b"1", b"2", b"3"]]

    run(story)


def test_nobody_is_waited_for_where_nobody_is_away() -> None:
    async def story(server: Server) -> None:
        way = batcher(server, delay_s=60, workers=2)

        def ask(*bodies: bytes) -> list[asyncio.Task[Reply]]:
            return [asyncio.create_task(way.ask(HEAD, body)) for body in bodies]

        asked = ask(b"0", b"1", b"2")
        await settle()
        server.may_answer.set()
        await settle()
        asked += ask(b"3")  # for which the last one of the three was held
        await asyncio.wait_for(asyncio.gather(*asked), 5)
        server.may_answer.clear()
        server.batches.clear()
        asked = ask(b"4", b"5", b"6")
        await settle()
        assert (way.expected, server.batches) == (2, [[b"4", b"5"], [b"6"]])
        server.may_answer.set()
        await asyncio.gather(*asked)

    run(story)


def test_holding_is_given_up_where_nobody_comes_and_tried_again() -> None:
    async def story(server: Server) -> None:
        way = batcher(server, delay_s=0.004)
        is_held = []
        for _ in range(60):  # the second comes when the first is on its way, and not before
            server.may_answer.clear()
            server.batches.clear()
            first = asyncio.create_task(way.ask(HEAD, b"first"))
            await settle()
            is_held.append(not server.batches)
            while not server.batches:
                await asyncio.sleep(0.001)
            second = asyncio.create_task(way.ask(HEAD, b"second"))
            server.may_answer.set()
            await settle()
            is_held.append(len(server.batches) == 1)
            await asyncio.gather(first, second)
            assert server.batches == [[b"first"], [b"second"]]
        assert is_held[:6] == [False] + 5 * [True]
        assert 10 <= sum(is_held[20:]) <= 30  # of a hundred

    run(story)


def test_alone_nobody_waits() -> None:
    async def story(server: Server) -> None:
        way = batcher(server, delay_s=60)
        server.may_answer.set()
        for _ in range(5):
            await asyncio.wait_for(way.ask(HEAD, b"alone"), 5)
        assert server.batches == [[b"alone"]] * 5

    run(story)


def test_who_comes_no_more_is_forgotten() -> None:
    async def story(server: Server) -> None:
        way = batcher(server, delay_s=0.001)
        server.may_answer.set()
        await asyncio.gather(*(way.ask(HEAD, b"x") for _ in range(3)))
        while way.expected > 1:  # each is held for a moment, and sent
            await way.ask(HEAD, b"alone")
        assert len(server.batches) < 20
        assert all(len(batch) == 1 for batch in server.batches[2:])

    run(story)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(500, {}, b'{"message": "Worker died."}'), WorkerError),
        (Answer(503, {}, b"Prediction failed"), WorkerError),
        (Answer(503, {}, b'{"type": "ServiceUnavailableException"}'), UpstreamError),
        (UpstreamError("connection lost"), UpstreamError),
    ],
)
def test_what_befalls_a_batch_is_told_to_all_of_it_and_the_next_goes(
    answer: Answer | Exception, error: type[Exception]
) -> None:
    async def story(server: Server) -> None:
        way = batcher(server)
        server.may_answer.set()
        said = await asyncio.gather(
            *(way.ask(HEAD, b"x") for _ in range(5)), return_exceptions=True
        )
        assert [type(err) for err in said] == [error] * 5
        server.answer = None
        assert (await way.ask(HEAD, b"y")).body == b"idy"

    run(story, answer)


def test_a_batch_that_is_never_answered_gives_its_lane_back() -> None:
    async def story(server: Server) -> None:
        way = batcher(server, timeout_s=0.02)
        said = await asyncio.gather(
            *(way.ask(HEAD, b"x") for _ in range(3)), return_exceptions=True
        )
        assert [type(err) for err in said] == [WorkerError] * 3
        server.may_answer.set()
        assert (await way.ask(HEAD, b"y")).status == 200

    run(story)


def test_heads_and_bodies_travel_as_they_are() -> None:
    requests = [
        (Head("é", 1, "image/jpeg; a=b", "*/*", "top-k=3"), b"\x00\t\xff" * 9),
        (Head("", 2**62, "", "", "", is_probe=True), b""),
    ]
    assert unpack_requests(pack_requests(requests)) == requests
    replies = [Reply(200, "a/b", "", b"\t"), Reply(422, "application/json", "Kind", b"")]
    counts = {"Label": {"día\t": 2}}
    assert unpack_replies(pack_replies(replies, counts)) == (replies, counts)
    assert unpack_replies(pack_replies(replies, {})) == (replies, {})
    (tabbed,) = unpack_requests(pack_requests([(Head("a\tb", 1, "\t", "", ""), b"x")]))
    assert tabbed == (Head("a b", 1, " ", "", ""), b"x")
