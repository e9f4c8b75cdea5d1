"""The request path never waits for the collector and never fails because of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from components.inference.inbox import Inbox
from components.inference.records import AnswerRecord, decode, probabilities_of
from components.inference.telemetry import Telemetry
from components.inference.tests.telemetry_factories import a_request, an_answer, an_image, embedding


@pytest.fixture
def path(tmp_path):
    return tmp_path / "c.sock"


@pytest.fixture
def inbox(path):
    with_socket = Inbox(path)
    yield with_socket
    with_socket.close()


@pytest.fixture
def telemetry(path):
    sender = Telemetry(path)
    yield sender
    sender.close()


def test_records_arrive_in_order(inbox, telemetry):
    for number in range(5):
        telemetry.send(a_request(request_id=f"r{number}"))
    assert [decode(m).request_id for m in inbox.messages()] == [f"r{n}" for n in range(5)]


def test_many_more_records_wait_than_a_datagram_socket_would_hold(inbox, telemetry):
    limit = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    for _ in range(5 * limit):
        telemetry.send(an_answer())
    if limit <= 20:
        assert telemetry.dropped == 0
    assert len(list(inbox.messages())) + telemetry.dropped == 5 * limit


def test_an_absent_collector_is_counted_and_costs_next_to_nothing(telemetry):
    begun = time.thread_time()
    for _ in range(2000):
        telemetry.send(a_request())
    assert telemetry.dropped == 2000
    assert time.thread_time() - begun < 1


def test_losses_are_told_when_the_collector_comes_and_then_forgotten(path):
    now = [0.0]
    telemetry = Telemetry(path, clock=lambda: now[0])
    telemetry.send(a_request())
    telemetry.send(a_request())
    inbox = Inbox(path)
    now[0] = 10
    telemetry.send(a_request())
    telemetry.send(a_request())
    assert [decode(m).dropped for m in inbox.messages()] == [2, 0]
    telemetry.close()
    inbox.close()


def test_a_collector_that_was_restarted_gets_the_next_record(path, telemetry):
    first = Inbox(path)
    telemetry.send(a_request(request_id="a"))
    assert len(list(first.messages())) == 1
    first.close()
    second = Inbox(path)
    telemetry.send(a_request(request_id="b"))
    assert [decode(m).request_id for m in second.messages()] == ["b"]
    second.close()


def test_a_collector_that_does_not_read_makes_senders_drop_and_memory_stays(inbox, telemetry):
    answer = an_answer(an_image(embedding=embedding(2000)))
    begun = time.monotonic()
    while telemetry.dropped < 100:
        telemetry.send(answer)
        assert time.monotonic() - begun < 30, "the kernel took everything"
    received = [decode(m) for m in inbox.messages()]
    assert 10 < len(received) < 5000
    telemetry.send(answer)
    (after,) = inbox.messages()
    assert decode(after).dropped >= 100


def test_an_answer_too_large_for_a_message_comes_in_parts(inbox, telemetry):
    images = [an_image(label=f"{n}", embedding=embedding(20_000)) for n in range(40)]
    telemetry.send(an_answer(*images))
    received = [decode(m) for m in inbox.messages()]
    assert len(received) > 10
    assert [image.label for part in received for image in part.images] == [
        f"{n}" for n in range(40)
    ]
    assert telemetry.dropped == 0
    assert [bool(part.phases_ms) for part in received] == [True] + [False] * (len(received) - 1)


def test_an_image_too_large_for_a_message_loses_its_embedding_first(inbox, telemetry):
    huge = embedding(8 << 20)
    telemetry.send(an_answer(an_image(embedding=huge, features="AACAPw==")))
    telemetry.send(an_answer(an_image(embedding=huge, features=huge)))
    first, second = (decode(m) for m in inbox.messages())
    assert isinstance(first, AnswerRecord)
    assert isinstance(second, AnswerRecord)
    assert (first.images[0].embedding, first.images[0].features) == ("", "AACAPw==")
    assert second.images[0].features == ""
    assert probabilities_of(second.images[0]) == [0.9, 0.06, 0.04]


def test_what_fits_in_no_form_is_counted(inbox, telemetry):
    telemetry.send(an_answer(an_image(label="x" * (9 << 20))))
    telemetry.send(a_request(error="x" * (9 << 20)))
    assert telemetry.dropped == 2
    assert list(inbox.messages()) == []
