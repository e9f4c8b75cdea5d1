"""How the front and a worker talk through multi-model-server: a batch is one request of it.

The server could make batches itself, but reads what a worker answers to one in pieces and
trips over a piece that ends between two fields (1.1.11, ModelResponseDecoder): one busy
hour and workers die of their own right answers. Of a single answer those fields always
come in the first piece. And its protocol takes four system calls a header and more a
request, which a batch now pays once.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from components.inference.records import Counts

_SEPARATOR = "\t"
_LENGTHS = struct.Struct("!II")  # of the head, of the body


@dataclass(frozen=True, slots=True)
class Head:
    """What a worker knows of a request beside its body.

    received_ns: the monotonic clock, which all processes of a machine share.
    is_probe: asked by the front itself to see whether a worker answers.
    """

    request_id: str
    received_ns: int
    content_type: str
    accept: str
    attributes: str
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker says of one request.

    error: its kind, "" where all is well.
    """

    status: int
    content_type: str
    error: str
    body: bytes


def pack_requests(requests: Sequence[tuple[Head, bytes]]) -> bytes:
    """Return requests as one body."""
    return _pack(
        (
            (
                head.request_id,
                str(head.received_ns),
                head.content_type,
                head.accept,
                head.attributes,
                "1" if head.is_probe else "",
            ),
            body,
        )
        for head, body in requests
    )


def unpack_requests(data: bytes) -> list[tuple[Head, bytes]]:
    """Return what `pack_requests` was given."""
    return [
        (Head(fields[0], int(fields[1]), fields[2], fields[3], fields[4], fields[5] == "1"), body)
        for fields, body in _unpack(data)
    ]


def pack_replies(replies: Sequence[Reply], counts: Counts) -> bytes:
    """Return replies, in the order of the requests, as one body.

    counts: of what the worker has not reported itself.
    """
    told = json.dumps(counts).encode() if counts else b""
    messages = [
        ((str(reply.status), reply.content_type, reply.error), reply.body) for reply in replies
    ]
    return _pack([((), told), *messages])


def unpack_replies(data: bytes) -> tuple[list[Reply], Counts]:
    """Return what `pack_replies` was given."""
    (_, told), *messages = _unpack(data)
    replies = [
        Reply(int(status), content_type, error, body)
        for (status, content_type, error), body in messages
    ]
    return replies, json.loads(told) if told else {}


def _pack(messages: Iterable[tuple[tuple[str, ...], bytes]]) -> bytes:
    parts = []
    for fields, body in messages:
        head = _SEPARATOR.join(field.replace(_SEPARATOR, " ") for field in fields).encode()
        parts += [_LENGTHS.pack(len(head), len(body)), head, body]
    return b"".join(parts)


def _unpack(data: bytes) -> Iterator[tuple[list[str], bytes]]:
    start = 0
    while start < len(data):
        head, body = _LENGTHS.unpack_from(data, start)
        start += _LENGTHS.size
        fields = data[start : start + head].decode().split(_SEPARATOR)
        yield fields, data[start + head : start + head + body]
        start += head + body
