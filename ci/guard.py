"""python -m ci guard: hold the stacks to ci/stacks/rules.guard by cfn-guard.

cfn-guard is a program in Rust; the wheel cdklabs.cdk-validator-cfnguard carries its binaries
for Linux and macOS, which `make check` installs in .venv-tools/cfn-guard.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from ci.problems import REPOSITORY
from ci.templates import STACKS
from shared.component.errors import InputError
from shared.component.files import atomic

_TOOL = Path(".venv-tools/cfn-guard")
_SYSTEMS = {"Linux": "ubuntu", "Darwin": "macos"}
_MACHINES = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def main(argv: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Print what cfn-guard finds; return its status: 0 for nothing."""
    argparse.ArgumentParser(prog="python -m ci guard", description=__doc__).parse_args(argv)
    rules = root / STACKS / "rules.guard"
    templates = [str(path) for path in sorted((root / STACKS).glob("*.yaml"))]
    return guard(rules, templates, find_guard(root))


def guard(rules: Path, templates: Sequence[str], program: Path) -> int:
    """Run cfn-guard; return 0 where every template follows every rule."""
    command = [str(program), "validate", "--show-summary", "fail", "--rules", str(rules)]
    command += [part for template in templates for part in ("--data", template)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    sys.stdout.write(found.stdout)
    sys.stderr.write(found.stderr)
    return 1 if found.returncode else 0


def find_guard(root: Path = REPOSITORY) -> Path:
    """Return the binary for this machine, unpacked beside its wheel at the first call.

    Raises:
        InputError: the wheel is not installed, or has none for this machine.
    """
    program = root / _TOOL / "bin" / "cfn-guard"
    if program.exists():
        return program
    found = sorted((root / _TOOL).glob("lib/python*/site-packages/cdklabs/**/*.jsii.tgz"))
    if not found:
        raise InputError("guard: cfn-guard is not installed; run make .venv-tools/cfn-guard/.ready")
    system, machine = _SYSTEMS.get(platform.system()), _MACHINES.get(platform.machine())
    member = f"package/bin/{system}/{machine}/cfn-guard"
    with tarfile.open(found[0]) as archive:
        try:
            source = archive.extractfile(member)
        except KeyError:
            source = None
        if source is None:
            raise InputError(f"guard: {found[0].name} has no cfn-guard for {platform.platform()}")
        with atomic(program) as aside:
            aside.write_bytes(source.read())
    program.chmod(0o755)
    return program
