"""SageMaker's runtime: hands an invocation to the endpoint process that serves now.

components/inference answers `/endpoints/NAME/invocations` as sagemaker-runtime does, its
errors included (ModelError with OriginalStatusCode and OriginalMessage), so all that it says
goes to the caller as it is. What is said here is what AWS says without a container.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from shared.pipeline.local_aws.serving import Serving
from shared.pipeline.settings import NO_ACCOUNT

_TIMEOUT_S = 70.0  # SageMaker itself gives a model 60 seconds
_RETRY_AFTER_S = 2
# A connection's own, and the signature, which is nobody's business but AWS's.
_DROPPED = {
    *("host", "connection", "keep-alive", "te", "transfer-encoding", "upgrade", "expect"),
    *("authorization", "x-amz-security-token", "x-amz-date"),
}


@dataclass
class Route:
    """Which process answers, and how many answers each still owes; safe between threads."""

    _url: str = ""
    _owed: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def switch(self, url: str) -> None:
        """Send what comes from now on to another process; empty: to none."""
        with self._lock:
            self._url = url

    def in_flight(self, url: str) -> int:
        with self._lock:
            return self._owed[url]

    @contextmanager
    def request(self) -> Iterator[str]:
        """Give the process to send a request to, counted while the block runs; empty: none."""
        with self._lock:
            url = self._url
            self._owed[url] += 1
        try:
            yield url
        finally:
            with self._lock:
                self._owed[url] -= 1


@dataclass(frozen=True)
class Runtime:
    """Answers POST /endpoints/NAME/invocations."""

    home: Path
    route: Route

    async def invoke(self, request: Request) -> Response:
        """Hand a request on as it comes, and its answer once that is whole."""
        name = request.path_params["name"]
        serving = Serving.load(self.home)
        if serving is None or serving.endpoint != name:
            message = f"Endpoint {name} of account {NO_ACCOUNT} not found."
            return _refusal(400, "ValidationError", message)
        with self.route.request() as url:
            try:
                return await _ask(request, url) if url else _unavailable(name)
            except httpx.HTTPError:  # it has just died; it is started again
                return _unavailable(name)
            except ClientDisconnect:
                return Response(status_code=400)  # which nobody reads


async def _ask(request: Request, url: str) -> Response:
    headers = [(name, text) for name, text in request.headers.items() if name not in _DROPPED]
    client: httpx.AsyncClient = request.state.client
    async with client.stream(
        "POST", f"{url}{request.url.path}", headers=headers, content=request.stream()
    ) as answer:
        body = b"".join([part async for part in answer.aiter_raw()])
        kept = {name: text for name, text in answer.headers.items() if name not in _DROPPED}
        return Response(body, answer.status_code, kept)


def new_client() -> httpx.AsyncClient:
    """Return a client that takes a new connection a request.

    A process that is being stopped closes connections that wait; none must be taken up then.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(limits=limits, timeout=_TIMEOUT_S, trust_env=False)


def _unavailable(name: str) -> Response:
    answer = _refusal(503, "ServiceUnavailable", f"Endpoint {name} is starting; try again.")
    answer.headers["retry-after"] = str(_RETRY_AFTER_S)
    return answer


def _refusal(status: int, code: str, message: str) -> Response:
    return JSONResponse({"Message": message}, status, {"x-amzn-errortype": code})
