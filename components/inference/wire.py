"""How the front tells a worker of a request: one header, since each costs the protocol.

multi-model-server's protocol takes four system calls for a header, and a client may send
many. So the front passes on what matters in one line, and the body as it came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HEADER = "x-visionloop"
_SEPARATOR = "\t"


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

    def line(self) -> str:
        """Return the header line, without its end."""
        fields = (  # first and last never empty: HTTP strips the ends of a value
            str(self.received_ns),
            self.content_type,
            self.accept,
            self.attributes,
            "1" if self.is_probe else "",
            self.request_id,
        )
        return f"{HEADER}: " + _SEPARATOR.join(f.replace(_SEPARATOR, " ") for f in fields)


def read_header(context: Any, number: int) -> Head:
    """Return the head of the batch's request `number`, given multi-model-server's context."""
    text: str = context.get_request_header(number, HEADER)
    received_ns, content_type, accept, attributes, probe, request_id = text.split(_SEPARATOR)
    return Head(request_id, int(received_ns), content_type, accept, attributes, probe == "1")
