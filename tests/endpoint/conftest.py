"""The endpoint under test: one started here, or the one that the options name.

pytest tests/endpoint
pytest tests/endpoint --endpoint-url http://127.0.0.1:8080 --golden model.tar.gz
pytest tests/endpoint --endpoint-name NAME --golden model.tar.gz     # on AWS
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.endpoint import LOCAL_NAME, Endpoint
from ci.served import ours, running
from shared.vision.bundle import Bundle, open_bundle
from shared.vision.golden import read_golden
from shared.vision.tests.served import make_served_bundle
from tests.endpoint.target import Target


@pytest.fixture(scope="session")
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """Return the endpoint; one started here is stopped with the session."""
    url, name = request.config.getoption("endpoint_url"), request.config.getoption("endpoint_name")
    golden = request.config.getoption("golden")
    if not url and not name:
        bundle = make_served_bundle(tmp_path_factory.mktemp("served"), has_onnx=True)
        server = ours(bundle.folder, "ours", "--telemetry", "false", "--workers", "2")
        with running(server, read_golden(bundle)[0].data) as started:
            yield _target(f"http://127.0.0.1:{started.port}", LOCAL_NAME, bundle)
        return
    with open_bundle(Path(golden)) as bundle:
        yield _target((url or "").rstrip("/"), name or LOCAL_NAME, bundle)


def _target(address: str, name: str, bundle: Bundle) -> Target:
    place = f"{address}/{name}" if address else name
    golden = tuple(read_golden(bundle))
    if not golden:
        raise pytest.UsageError(f"no golden images in {bundle.folder}; give a registered bundle")
    return Target(Endpoint.at(place).client, name, address, golden, bundle.info.classes)
