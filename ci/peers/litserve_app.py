"""LitServe: .venv-peers/litserve/bin/python -m ci.peers.litserve_app PORT WORKERS"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import litserve

from ci.peers.answer import answer, load_predictor


class Classify(litserve.LitAPI):
    """One image a request."""

    def setup(self, device: str) -> None:
        self.predictor = load_predictor()

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["b64"])

    def predict(self, x: bytes) -> Any:
        return json.loads(answer(self.predictor, x))

    def encode_response(self, output: Any) -> Any:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Classify(api_path="/invocations"), accelerator="cpu", workers_per_device=int(sys.argv[2])
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
