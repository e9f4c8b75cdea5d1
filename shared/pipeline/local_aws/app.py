"""The ASGI app: AWS's JSON protocol for three services, and SageMaker's runtime.

Only requests that name this machine are answered, and none that a page of a browser sends:
a page from elsewhere can make a browser ask 127.0.0.1, but not hide whose page it is.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypedDict

import httpx
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from shared.component.errors import VisionloopError
from shared.pipeline.backends.store import Store
from shared.pipeline.local_aws.call import Call, Json, Operations
from shared.pipeline.local_aws.errors import ApiError, invalid
from shared.pipeline.local_aws.executions import Executions
from shared.pipeline.local_aws.hosting import Hosting
from shared.pipeline.local_aws.jobs import Jobs
from shared.pipeline.local_aws.log_events import LogEvents
from shared.pipeline.local_aws.model_packages import ModelPackages
from shared.pipeline.local_aws.parameters import Parameters
from shared.pipeline.local_aws.pipelines import Pipelines
from shared.pipeline.local_aws.runtime import Route, Runtime, new_client
from shared.pipeline.local_aws.starts import Starts
from shared.pipeline.registry import FileRegistry
from shared.pipeline.settings import Settings

Handler = Callable[[Request], Awaitable[Response]]
log = logging.getLogger(__name__)
HOSTS = ("127.0.0.1", "localhost")
_MOST_BYTES = 4 << 20  # of a call; the longest legal one is a start with all its parameters
_KEY_ID = re.compile(r"Credential=([\w+=,.@-]{1,64})/")
_CONTENT_TYPE = "application/x-amz-json-1.1"


class _State(TypedDict):
    client: httpx.AsyncClient


@dataclass(frozen=True)
class Service:
    """Answers what X-Amz-Target names."""

    operations: Operations

    async def answer(self, request: Request) -> Response:
        try:
            call = Call(await _body(request), _caller(request))
            target = request.headers.get("x-amz-target", "")
            return _reply(200, await run_in_threadpool(self._do, target, call))
        except ApiError as err:
            return _reply(err.status, {"__type": err.code, "message": str(err)})
        except VisionloopError as err:
            return _reply(400, {"__type": "ValidationException", "message": str(err)})
        except Exception:  # the process's edge: the log has what, the caller has none of it
            log.exception("local AWS: %s", request.headers.get("x-amz-target"))
            text = "an error of the local AWS; its log has more"
            return _reply(500, {"__type": "InternalFailure", "message": text})

    def _do(self, target: str, call: Call) -> Json:
        operation = self.operations.get(target)
        if operation is None:
            known = ", ".join(sorted(name.partition(".")[2] for name in self.operations))
            raise ApiError("UnknownOperationException", f"no {target!r} here; there is {known}")
        return operation(call)


def operations(settings: Settings, environ: Mapping[str, str]) -> Operations:
    """Return every operation by its X-Amz-Target.

    environ: of the processes that run executions.
    """
    executions = Executions(settings.home, settings.region)
    registry = FileRegistry(settings.home / "registry.json", settings.region)
    sagemaker: Json = {
        **Pipelines(executions).operations,
        **Starts(settings, executions, environ).operations,
        **Jobs(executions, Store(settings.home / "s3")).operations,
        **ModelPackages(registry).operations,
        **Hosting(settings.home, settings.region).operations,
    }
    ssm = Parameters(settings.home / "parameters.jsonl", settings.region).operations
    services: Mapping[str, Operations] = {
        "SageMaker": sagemaker,
        "AmazonSSM": ssm,
        "Logs_20140328": LogEvents(executions).operations,
    }
    return {
        f"{prefix}.{name}": operation
        for prefix, each in services.items()
        for name, operation in each.items()
    }


def application(settings: Settings, route: Route, environ: Mapping[str, str]) -> Starlette:
    """Return the app.

    route: where invocations go; its owner switches it.
    """
    service = Service(operations(settings, environ))
    runtime = Runtime(settings.home, route)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[_State]:
        async with new_client() as client:
            yield {"client": client}

    return Starlette(
        routes=[
            Path("/", _from_programs(service.answer), methods=["POST"]),
            Path("/endpoints/{name}/invocations", _from_programs(runtime.invoke), methods=["POST"]),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False)
        ],
        lifespan=lifespan,
    )


def _from_programs(handler: Handler) -> Handler:
    """Refuse what a browser's page has sent: boto3 and the AWS CLI name no origin."""

    async def answer(request: Request) -> Response:
        if "origin" in request.headers:
            return Response("no page of a browser may ask here\n", 403)
        return await handler(request)

    return answer


async def _body(request: Request) -> Json:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _MOST_BYTES:
            raise ApiError("RequestEntityTooLargeException", "the request is too large", 413)
        parts.append(part)
    try:
        body = json.loads(b"".join(parts) or b"{}")
    except ValueError as err:
        raise ApiError("SerializationException", "the request is no JSON") from err
    if not isinstance(body, dict):
        raise invalid("the request is no JSON object")
    return body


def _caller(request: Request) -> str:
    found = _KEY_ID.search(request.headers.get("authorization", ""))
    return found[1] if found else "local"


def _reply(status: int, body: Json) -> Response:
    headers = {"x-amzn-requestid": str(uuid.uuid4())}
    return Response(json.dumps(body), status, headers, _CONTENT_TYPE)
