"""FastAPI: .venv-peers/fastapi/bin/python -m ci.peers.fastapi_app PORT WORKERS"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, Request, Response

from ci.peers.answer import answer, load_predictor


def make_app() -> FastAPI:
    predictor = load_predictor()
    app = FastAPI()

    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        return Response(answer(predictor, await request.body()), media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(
        "ci.peers.fastapi_app:make_app",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        workers=int(sys.argv[2]),
        access_log=False,
        log_level="warning",
    )
