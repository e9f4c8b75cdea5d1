"""Which code made an artifact."""

from __future__ import annotations

import re

from shared.component.version import code_version


def test_a_version_is_stable_and_differs_between_components() -> None:
    assert re.fullmatch("[0-9a-f]{12}", code_version("train"))
    assert code_version("train") == code_version("train")
    assert code_version("train") != code_version("evaluate")
