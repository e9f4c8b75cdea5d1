"""The image of the pages: it serves behind a user pool's login, and nobody without one."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from docker import DockerClient
from docker.errors import ContainerError

pytestmark = pytest.mark.docker
COGNITO = {
    "VISIONLOOP_LOGIN": "cognito",
    "VISIONLOOP_PUBLIC_URL": "https://pages.example",
    "VISIONLOOP_ISSUER": "https://pool.example",
    "VISIONLOOP_CLIENT_ID": "client",
    "VISIONLOOP_WEB_KEY": "k" * 40,
    "AWS_REGION": "us-east-1",
}
START_S = 60


@pytest.fixture
def server(engine: DockerClient, image: Callable[[str], str]) -> Iterator[Any]:
    container = engine.containers.run(
        image("web"), detach=True, environment=COGNITO, ports={"8000/tcp": ("127.0.0.1", None)}
    )
    yield container
    container.remove(force=True)


def ask(container: Any, path: str, host: str) -> tuple[int, str]:
    container.reload()
    port = container.ports["8000/tcp"][0]["HostPort"]
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"host": host})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as err:
        with err:
            return err.code, err.read().decode()


def test_it_shows_the_login_under_its_own_name_alone(server: Any) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            assert ask(server, "/health", "127.0.0.1")[0] == 200
            break
        except (urllib.error.URLError, OSError, KeyError, IndexError):
            assert time.monotonic() < end, server.logs().decode()
            time.sleep(0.1)
    status, page = ask(server, "/login", "pages.example")
    assert (status, "/login/start" in page) == (200, True)
    assert ask(server, "/login", "127.0.0.1")[0] == 400
    assert ask(server, "/operator/runs", "pages.example")[0] == 200  # led to the login
    server.stop(timeout=30)
    server.reload()
    assert server.attrs["State"]["ExitCode"] in (0, 143), server.logs().decode()


def test_without_a_user_pool_it_does_not_listen(
    engine: DockerClient, image: Callable[[str], str]
) -> None:
    with pytest.raises(ContainerError) as failed:
        engine.containers.run(image("web"), remove=True)
    assert failed.value.exit_status == 2
    (line,) = failed.value.stderr.decode().strip().splitlines()
    assert line.startswith("error: web: login dev lets everybody in and serves this machine alone")
