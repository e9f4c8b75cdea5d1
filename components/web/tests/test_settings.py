"""What may not be put together, and the key that signs sessions."""

from __future__ import annotations

import pytest

from components.web.settings import KEY_VARIABLE, read_key
from components.web.tests.house import settings_of
from shared.component.errors import InputError, UsageError

COGNITO = {
    "login": "cognito",
    "public_url": "https://pages.example",
    "issuer": "https://pool.example",
    "client_id": "c",
}


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.168.1.2"])  # noqa: S104 - refused
def test_the_login_of_this_machine_is_for_this_machine(bind: str) -> None:
    with pytest.raises(UsageError, match="serves this machine alone"):
        settings_of(bind=bind)


def test_the_login_of_this_machine_is_none_on_the_web_or_on_lambda() -> None:
    from components.web.settings import Settings

    with pytest.raises(UsageError, match="serves this machine alone"):
        settings_of(public_url="https://pages.example")
    ports = {name: getattr(settings_of(), name) for name in Settings.__dataclass_fields__}
    with pytest.raises(UsageError, match="serves this machine alone"):
        Settings.read(ports, {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"})


@pytest.mark.parametrize("name", ["public_url", "issuer", "client_id"])
def test_cognito_needs_its_addresses(name: str) -> None:
    with pytest.raises(UsageError, match=f"needs {name}"):
        settings_of(**COGNITO | {name: ""})


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-a", "x" * 64])
def test_a_name_that_no_pipeline_has_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no pipeline is called"):
        settings_of(name=name)


def test_sessions_do_not_travel_in_the_clear() -> None:
    with pytest.raises(UsageError, match="need https"):
        settings_of(**COGNITO | {"public_url": "http://pages.example"})


def test_only_our_own_names_are_answered() -> None:
    assert settings_of(**COGNITO).hosts == ["pages.example"]
    assert settings_of().hosts == ["127.0.0.1", "localhost", "[::1]"]


def test_the_key_comes_from_the_secret_the_variable_or_chance() -> None:
    settings = settings_of()
    assert read_key(settings, None, {KEY_VARIABLE: "v" * 32}) == "v" * 32
    assert read_key(settings, None, {}) != read_key(settings, None, {})
    secret = settings_of(session_key="arn:secret")
    assert (
        read_key(secret, {"arn:secret": "s" * 32}.__getitem__, {KEY_VARIABLE: "v" * 32}) == "s" * 32
    )


def test_a_key_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(UsageError, match="has 7 characters"):
        read_key(settings_of(), None, {KEY_VARIABLE: "hunter2"})
