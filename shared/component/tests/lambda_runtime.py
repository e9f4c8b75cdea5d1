"""Lambda's runtime API on loopback, as awslambdaric speaks with it: real requests, no Lambda.

docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]
_DEADLINE_S = 60.0
_ROOT = "/2018-06-01/runtime/"


@dataclass
class RuntimeApi:
    """What Lambda asks and is told; events are handed out in order."""

    events: queue.Queue[bytes | None] = field(default_factory=queue.Queue)
    said: queue.Queue[tuple[str, Any]] = field(default_factory=queue.Queue)
    has_asked: threading.Event = field(default_factory=threading.Event)
    count: int = 0

    def invoke(self, event: Any) -> Any:
        """Hand out one event and return the function's response."""
        self.events.put(json.dumps(event).encode())
        place, document = self.said.get(timeout=_DEADLINE_S)
        assert place.endswith("/response"), document
        return document


@dataclass
class Function:
    """A process that serves a runtime API.

    cold_start_s: from the process's start to its asking for the first event.
    """

    process: subprocess.Popen[bytes]
    api: RuntimeApi
    log: Path
    cold_start_s: float = 0.0


@contextmanager
def running(
    component: str, *flags: str, is_asking: bool = True, **variables: str
) -> Iterator[Function]:
    """Start `python -m components.COMPONENT` as Lambda does, and kill it in the end.

    is_asking: wait until it asks for its first event.
    """
    api = RuntimeApi()
    with _served(api) as address, tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        environ = os.environ | {
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_LAMBDA_FUNCTION_NAME": "visionloop",
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            **variables,
        }
        command = [sys.executable, "-m", f"components.{component}", *flags]
        with log.open("wb") as stream:
            started = time.monotonic()
            process = subprocess.Popen(
                command, cwd=REPOSITORY, env=environ, stdout=stream, stderr=stream
            )
            function = Function(process, api, log)
            try:
                if is_asking:
                    assert api.has_asked.wait(_DEADLINE_S), log.read_text()
                    function.cold_start_s = time.monotonic() - started
                yield function
            finally:
                process.kill()  # it waits for an event in C, where no SIGTERM is heard
                process.wait()


@contextmanager
def _served(api: RuntimeApi) -> Iterator[str]:
    class Exchange(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == f"{_ROOT}invocation/next"
            api.has_asked.set()
            if (event := api.events.get()) is None:
                return  # the function is gone
            api.count += 1
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", f"invocation-{api.count}")
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int(1e3 * time.time()) + 30_000))
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(event)))
            self.end_headers()
            self.wfile.write(event)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            api.said.put((self.path.removeprefix(_ROOT), json.loads(body)))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *values: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        api.events.put(None)
        server.shutdown()
        server.server_close()
        thread.join()
