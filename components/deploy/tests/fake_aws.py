"""The fakes on loopback: boto3's own clients speak with them, here and in a function."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from components.deploy.tests.fake_lambda import FakeLambda
from components.deploy.tests.fake_sagemaker import FakeSageMaker, RefusalError

SERVICES = ("sagemaker", "sagemaker-runtime", "application-autoscaling", "lambda")


@dataclass
class FakeAws:
    """What SageMaker, Application Auto Scaling and Lambda hold; `url` is where they answer."""

    sagemaker: FakeSageMaker
    functions: FakeLambda
    url: str = ""

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> Any:
        """Answer one request of any of the services."""
        parts = urlsplit(url)
        path = unquote(parts.path)
        if target := headers.get("X-Amz-Target"):
            return self.sagemaker.call(target.rpartition(".")[2], json.loads(body))
        if path.startswith("/endpoints/"):
            attributes = headers.get("X-Amzn-SageMaker-Custom-Attributes", "")
            return self.sagemaker.invoke(path.split("/")[2], body, attributes)
        return self.functions.serve(method, path, dict(parse_qsl(parts.query)), body)


@contextmanager
def serving(aws: FakeAws) -> Iterator[FakeAws]:
    """Answer on a free port until the block ends."""
    lock = threading.Lock()  # the fakes know nothing of threads

    class Exchange(BaseHTTPRequestHandler):
        def _exchange(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, code = 200, ""
            try:
                with lock:
                    answer = aws.answer(self.command, self.path, self.headers, body)
            except RefusalError as err:
                status, code = err.status, err.code
                answer = {"__type": err.code, "message": err.message, "Message": err.message}
            data = json.dumps(answer).encode()
            self.send_response(status)
            if code:
                self.send_header("x-amzn-ErrorType", code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _exchange  # noqa: N815 - http.server's names

        def log_message(self, format: str, *values: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    aws.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield aws
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
