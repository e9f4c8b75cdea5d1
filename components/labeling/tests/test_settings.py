"""What the component is told, and what it refuses to do without."""

from __future__ import annotations

import pytest

from components.labeling.settings import Place, Secrets, check_may_listen, read_place
from shared.component.errors import InputError, UsageError

WORDS = {
    "LABEL_STUDIO_USER": "owner@example.com",
    "LABEL_STUDIO_PASSWORD": "one",
    "LABEL_STUDIO_TOKEN": "two",
    "VISIONLOOP_BACKEND_USER": "studio",
    "VISIONLOOP_BACKEND_PASSWORD": "three",
    "VISIONLOOP_WEBHOOK_SECRET": "four",
}


def test_a_place_is_a_bucket_and_a_prefix() -> None:
    assert read_place("s3://bucket/a/b/", "queue") == Place("bucket", "a/b/")
    assert read_place("s3://bucket", "queue").uri == "s3://bucket/"
    assert read_place("s3://bucket/a", "queue").key("x") == "a/x"


@pytest.mark.parametrize("uri", ["", "bucket/a", "/folder", "s3://", "s3://UP/a", "https://x/y"])
def test_what_is_no_place_is_refused_with_the_flag_to_pass(uri: str) -> None:
    with pytest.raises(InputError, match="pass --some-place s3://bucket/prefix"):
        read_place(uri, "some_place")


def test_secrets_are_not_shown() -> None:
    shown = repr(Secrets.from_environ(WORDS))
    assert not [word for word in WORDS.values() if word in shown]


@pytest.mark.parametrize("missing", [name for name in WORDS if name.startswith("VISIONLOOP")])
def test_beyond_this_machine_nobody_is_served_without_all_passwords(missing: str) -> None:
    check_may_listen("0.0.0.0", Secrets.from_environ(WORDS))  # noqa: S104
    lacking = Secrets.from_environ({n: v for n, v in WORDS.items() if n != missing})
    with pytest.raises(UsageError, match="VISIONLOOP_WEBHOOK_SECRET"):
        check_may_listen("0.0.0.0", lacking)  # noqa: S104
    check_may_listen("127.0.0.1", lacking)
