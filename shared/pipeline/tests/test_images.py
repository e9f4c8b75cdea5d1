"""Names of images in definitions: the endpoint's, and what a damaged record does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shared.component.spec import load_spec
from shared.pipeline.errors import SettingsError
from shared.pipeline.images import (
    Pushed,
    code_hash,
    image_uri,
    inference_image,
    read_pushed,
    write_pushed,
)
from shared.pipeline.settings import REPOSITORY, Settings

SPEC = load_spec(REPOSITORY / "components" / "inference")


def test_a_package_names_the_inference_image_of_todays_code(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    code = code_hash(SPEC, REPOSITORY)
    registry = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
    assert inference_image(settings) == f"{registry}/visionloop/inference:{code}"
    digest = f"{registry}/visionloop/inference@sha256:{'d' * 64}"
    write_pushed(tmp_path, {"inference": Pushed(code, digest)})
    assert inference_image(settings) == digest
    assert inference_image(replace(settings, explicit_inference_image="own:1")) == "own:1"
    assert inference_image(replace(settings, root=tmp_path)).endswith("visionloop/inference:latest")


def test_a_digest_of_other_code_or_of_another_account_is_left_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, account="123456789012")
    code = code_hash(SPEC, REPOSITORY)
    by_tag = image_uri(SPEC, settings)
    for entry in (
        Pushed("0" * 16, f"{settings.registry}/visionloop/inference@sha256:00"),
        Pushed(code, "111122223333.dkr.ecr.us-east-1.amazonaws.com/visionloop/inference@sha256:00"),
        Pushed(code, f"{settings.registry}/visionloop/inference2@sha256:00"),
    ):
        write_pushed(tmp_path, {"inference": entry})
        assert image_uri(SPEC, settings) == by_tag


@pytest.mark.parametrize("text", ["{", "[]", '{"train": {"code": "1"}}', '{"train": 1}'])
def test_a_damaged_record_is_told_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "images.json").write_text(text)
    with pytest.raises(SettingsError, match=r"images\.json is damaged .*python -m ci push"):
        read_pushed(tmp_path)
