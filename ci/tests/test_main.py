"""The table of commands."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

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


def test_sigterm_unwinds_a_command() -> None:
    """A benchmark that was ended so left its server running."""
    code = (
        "import time, ci.__main__ as house\n"
        "house.end_cleanly_by_sigterm()\n"
        "try:\n"
        "    print('works', flush=True)\n"
        "    time.sleep(60)\n"
        "finally:\n"
        "    print('cleaned', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "works\n"
        child.terminate()
        assert child.stdout.readline() == "cleaned\n"
        assert child.wait(10) == 143
