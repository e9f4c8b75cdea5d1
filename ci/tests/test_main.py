"""The table of commands."""

from __future__ import annotations

import importlib.util

import pytest

from ci.__main__ import COMMANDS, main


def test_every_command_is_a_module_of_its_name() -> None:
    for name in COMMANDS:
        assert importlib.util.find_spec(f"ci.{name}"), name


def test_arguments_after_the_command_are_the_commands_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["check", "--help"])
    assert end.value.code == 0
    assert "--fix" in capsys.readouterr().out


def test_an_unknown_command_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["chekc"])
    assert end.value.code == 2
    assert "invalid choice: 'chekc'" in capsys.readouterr().err
