"""Clients that are slow, idle, gone, or speak no HTTP: the others are served meanwhile."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from ci.tests.live import Live, wait_until
from shared.vision.tests.factories import colour_image

pytestmark = pytest.mark.faults

COLOURS = ("red", "green", "blue")
HEAD = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"


@contextlib.contextmanager
def connections(live: Live, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(live.connect()) for _ in range(count)]


def message(image: bytes) -> bytes:
    return HEAD + b"content-length: %d\r\n\r\n" % len(image) + image


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read one response to its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = [int(li.split(b":")[1]) for li in head.split(b"\r\n") if b"content-length" in li]
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1]), body


def assert_serves_quickly(live: Live) -> None:
    for colour in COLOURS:
        started = time.monotonic()
        assert live.ask(colour_image(colour, 5)).label == colour
        assert time.monotonic() - started < 3
    assert live.ping() == 200


@pytest.mark.parametrize("sent", [b"", b"POST", HEAD, HEAD + b"content-length: 9999\r\n\r\nxx"])
def test_a_thousand_clients_that_are_idle_or_slow_hold_up_nobody(server: Live, sent: bytes) -> None:
    with connections(server, 1000) as slow:
        for client in slow:
            client.sendall(sent)
        assert_serves_quickly(server)


def test_a_request_that_drips_in_is_answered(server: Live) -> None:
    image = colour_image("green", 1, side=12)
    with server.connect() as client:
        for byte in message(image):
            client.sendall(bytes([byte]))
        status, body = answer(client)
    assert (status, json.loads(body)["predictions"][0]["label"]) == (200, "green")


def test_clients_that_leave_take_nobodys_answer_with_them(server: Live) -> None:
    """Between those that send and leave are those that stay; each gets its own."""

    def leave(number: int) -> None:
        with server.connect() as client:
            data = message(colour_image("red", number))
            client.sendall(data[: len(data) if number % 2 else -50])
            if number % 3:
                client.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
                )  # a reset

    def stay(number: int) -> bool:
        colour = COLOURS[number % 3]
        return server.ask(colour_image(colour, number)).label == colour

    with ThreadPoolExecutor(8) as pool:
        gone = [pool.submit(leave, n) for n in range(150)]
        right = [pool.submit(stay, n) for n in range(150)]
        assert all(done.result() for done in right)
        for done in gone:
            done.result()
    assert server.ping() == 200


def test_pipelined_requests_are_answered_in_order(server: Live) -> None:
    with server.connect() as client:
        client.sendall(b"".join(message(colour_image(c, 2)) for c in COLOURS))
        stream = client.makefile("rb")
        for colour in COLOURS:
            status = int(stream.readline().split()[1])
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.startswith(b"content-length"):
                    length = int(line.split(b":")[1])
            said = json.loads(stream.read(length))
            assert (status, said["predictions"][0]["label"]) == (200, colour)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(99),  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://x HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nx: " + b"a" * 200_000,
        b"GET /ping HTTP/1.1\r\n" + b"a: b\r\n" * 40_000,
        b"GET /" + b"a" * 200_000,
        b"GET /ping HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_http_is_ended_or_refused(server: Live, data: bytes) -> None:
    with server.connect() as client:
        client.settimeout(5)
        with contextlib.suppress(ConnectionError):
            client.sendall(data)
        said = b""
        with contextlib.suppress(ConnectionError):
            said = client.recv(65536)
    assert b"Traceback" not in said
    assert said[9:12] in (b"", b"200", b"400", b"404", b"405"), said
    assert_serves_quickly(server)
    assert "Traceback" not in server.said(), data


def test_a_burst_beyond_what_may_wait_is_answered_or_told(server: Live) -> None:
    workers = server.workers()
    for worker in workers:
        worker.suspend()
    try:
        with connections(server, 700) as clients:
            for number, client in enumerate(clients):
                client.sendall(message(colour_image(COLOURS[number % 3], number % 9)))
            server.ping()  # the front has read what came before it
            for worker in workers:
                worker.resume()
            found = [answer(client) for client in clients]
    finally:
        for worker in workers:
            worker.resume()
    for number, (status, body) in enumerate(found):
        if status == 200:
            label = json.loads(body)["predictions"][0]["label"]
            assert label == COLOURS[number % 3]
        else:
            assert (status, json.loads(body)["error"]) == (503, "Unavailable")
    counts = {status: sum(s == status for s, _ in found) for status in (200, 503)}
    assert counts[200] >= 256
    assert counts[503] > 0
    wait_until(lambda: server.ping() == 200)


def test_the_front_keeps_nothing_of_all_that(server: Live) -> None:
    front = psutil.Process(server.process.pid)
    wait_until(lambda: len(front.net_connections("tcp")) < 20)
    assert front.memory_info().rss < 250 << 20
