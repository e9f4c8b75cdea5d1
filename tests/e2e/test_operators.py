"""An operator's change reaches an endpoint that runs, through Parameter Store alone."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from ci.served import Running, ours, running
from shared.vision.tests.factories import colour_image
from shared.vision.tests.served import make_served_bundle
from tests.e2e.conftest import Deployed
from tests.e2e.emulators import wait_for

pytestmark = pytest.mark.e2e
PATH = "/visionloop/dev/operator"


@pytest.fixture
def sink(tmp_path: Path) -> Path:
    return tmp_path / "sink"


def ask(at: Running, number: int) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{at.port}/invocations",
        data=colour_image("red", number),
        headers={"content-type": "image/png"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
        assert response.status == 200


def test_a_change_reaches_a_running_endpoint(
    stage: Deployed, sink: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stage.emulators.environ().items():
        monkeypatch.setenv(name, value)
    ssm = stage.client("ssm")

    def tune(name: str, value: str) -> None:
        ssm.put_parameter(Name=f"{PATH}/{name}", Value=value, Overwrite=True)

    def has_more(number: list[int]) -> bool:
        """Ask for one more image; return whether one was queued since."""
        ask(at, number[0])
        number[0] += 1
        return len(list((sink / "review" / "tasks").glob("*.json"))) > queued

    bundle = make_served_bundle(tmp_path / "bundle").folder
    flags = ("--sink", str(sink), "--operator-path", PATH, "--workers", "1")
    number, queued = [1000], 0
    tune("Minimum-Label-Detection-Confidence", "0")
    tune("Enable-Automatic-Human-Sampling", "false")
    try:
        with running(ours(bundle, "operators", *flags), colour_image("red", 0)) as at:
            for _ in range(20):
                assert not has_more(number)
            tune("Enable-Automatic-Human-Sampling", "true")
            tune("Human-Sampling-Interval", "1")
            wait_for(lambda: has_more(number), "images go to people", within_s=120)
    finally:
        tune("Minimum-Label-Detection-Confidence", "70.0")
        tune("Human-Sampling-Interval", "1000")
