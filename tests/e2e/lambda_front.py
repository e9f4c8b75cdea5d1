"""A front before MiniStack's Lambda: it answers invocations of images, which need Docker there.

All else goes on as it came, signature and all, so that MiniStack's Lambda and its IAM decide.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Invoke = Callable[[str, bytes], Any]
_INVOCATION = re.compile(r"/2015-03-31/functions/[^/]+/invocations")
_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "date", "server")


@contextmanager
def lambda_front(ministack: str, invoke: Invoke) -> Iterator[str]:
    """Serve on a free port and give the address.

    invoke: answers a function of that qualifier with a payload.
    """

    class Exchange(BaseHTTPRequestHandler):
        def _exchange(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            if _INVOCATION.fullmatch(parts.path):
                (qualifier,) = parse_qs(parts.query)["Qualifier"]
                self._answer(200, {}, json.dumps(invoke(qualifier, body)).encode())
                return
            request = urllib.request.Request(  # noqa: S310 - MiniStack's address
                ministack + self.path, body or None, dict(self.headers), method=self.command
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as found:  # noqa: S310
                    self._answer(found.status, dict(found.headers), found.read())
            except urllib.error.HTTPError as err:
                with err:
                    self._answer(err.code, dict(err.headers), err.read())

        do_GET = do_POST = do_PUT = do_DELETE = _exchange  # noqa: N815 - http.server's names

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
