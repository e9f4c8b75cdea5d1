"""Run a component's `run()` under the contract: flags or /opt/ml in, artifacts out.

`components/<name>/__main__.py` calls `main(folder)`. Values come from a flag, else
from the platform (/opt/ml; VISIONLOOP_<NAME> in the environment of what serves), else
from the default in component.yaml. Exit status: 0 done, 1 failed, 2 wrong use.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from shared.component import logs
from shared.component.errors import InputError, OutputError, UsageError, VisionloopError
from shared.component.layout import Layout
from shared.component.port import ParameterValue, Port
from shared.component.spec import ComponentSpec, load_spec

log = logging.getLogger(__name__)
# SageMaker shows 1,024 characters of a failure reason.
_FAILURE_REASON_CHARS = 1024
_SERVING_NOTE = "A parameter PORT-NAME also comes from the variable VISIONLOOP_PORT_NAME. "
_WORD, _COMMAND = "word", "command"  # a service that does several things has a port of that name
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(
    folder: Path,
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    run: Callable[..., None] | None = None,
) -> int:
    """Run the component in `folder` and return the process's exit status.

    run: what to call; default: `components.<name>.component.run`, imported only
        after the arguments proved right, so that --help stays fast.
    """
    spec = load_spec(folder)
    arguments = _parse(spec, argv)
    layout = Layout.from_environ(environ)
    logs.configure()
    signal.signal(signal.SIGTERM, _terminate)
    values: dict[str, ParameterValue | Path | None] = {}
    try:
        values = resolve(spec, arguments, layout, environ)
        run = run or importlib.import_module(f"components.{spec.name}.component").run
        run(**values)
    except VisionloopError as err:
        return _fail(spec, layout, str(err), err.exit_status)
    except OSError as err:
        return _fail(spec, layout, _describe(spec, err, values), 1)
    except Exception:  # noqa: BLE001 - the process edge: explain, keep the trace in the log
        traceback.print_exc()
        return _fail(spec, layout, traceback.format_exc(limit=-1), 1)
    return 0


def resolve(
    spec: ComponentSpec,
    flags: Mapping[str, Any],
    layout: Layout,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, ParameterValue | Path | None]:
    """Return the keyword arguments of `run`, checked.

    Raises:
        UsageError: a parameter is missing or impossible.
        InputError: a required input artifact is missing or empty.
        OutputError: an output folder cannot be made.
    """
    platform = layout.hyperparameters() if spec.kind == "training" else {}
    if spec.is_serving:
        platform = {n: environ[p.variable] for n, p in spec.inputs.items() if p.variable in environ}
    values: dict[str, ParameterValue | Path | None] = {}
    for port in spec.inputs.values():
        given = flags.get(port.name)
        if port.is_artifact:
            values[port.name] = _input_dir(spec, port, given, layout)
        else:
            text = given if given is not None else platform.get(port.name)
            values[port.name] = _parameter(spec, port, text)
    for port in spec.outputs.values():
        given = flags.get(port.name)
        values[port.name] = _output_dir(spec, port, given, layout)
    return values


def _parameter(spec: ComponentSpec, port: Port, text: str | None) -> ParameterValue:
    if text is not None:
        return port.parse(text, spec.name)
    if port.default is None:
        raise UsageError(f"{spec.name}: parameter '{port.name}' has no value; pass {port.flag}")
    return port.parse(port.default, spec.name)


def _input_dir(spec: ComponentSpec, port: Port, given: str | None, layout: Layout) -> Path | None:
    path = Path(given) if given else layout.input_dir(spec, port)
    if path.is_dir() and any(path.iterdir()):
        return path
    if spec.is_serving and path.is_file():  # model.tar.gz itself, as it lies in the registry
        return path
    if port.is_optional and not given:
        return None
    state = "is empty" if path.is_dir() else "is missing"
    raise InputError(
        f"{spec.name}: input '{port.name}' ({port.type}) {state}: {path}; "
        f"pass {port.flag} FOLDER or mount it there"
    )


def _output_dir(spec: ComponentSpec, port: Port, given: str | None, layout: Layout) -> Path:
    path = Path(given) if given else layout.output_dir(spec, port)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as err:
        raise OutputError(
            f"{spec.name}: cannot write output '{port.name}' to {path}: {err.strerror}; "
            f"pass {port.flag} with a folder that can be written"
        ) from err
    return path


def _parse(spec: ComponentSpec, argv: Sequence[str] | None) -> dict[str, Any]:
    """Return what the command line gives each port; a command may be its first word."""
    flags = vars(_parser(spec).parse_args(argv))
    if (word := flags.pop(_WORD, None)) and flags.get(_COMMAND, word) is None:
        flags[_COMMAND] = word
    return flags


def _parser(spec: ComponentSpec) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m components.{spec.name}",
        description=spec.description,
        epilog=_SERVING_NOTE
        * spec.is_serving
        + "An artifact is a folder; without its flag it is looked for under /opt/ml "
        "(SAGEMAKER_BASE_DIR moves that root), as SageMaker lays it out.",
        allow_abbrev=False,
    )
    # SageMaker starts an image with one of these arguments
    if word := {"training": "train", "endpoint": "serve"}.get(spec.kind):
        parser.add_argument(_WORD, nargs="?", choices=[word], help=argparse.SUPPRESS)
    elif spec.kind == "service" and _COMMAND in spec.parameters:
        port = spec.parameters[_COMMAND]
        parser.add_argument(_WORD, nargs="?", choices=port.enum, metavar=_COMMAND, help=_help(port))
    groups = {
        "input artifacts": spec.artifacts.values(),
        "parameters": spec.parameters.values(),
        "output artifacts": spec.outputs.values(),
    }
    for title, ports in groups.items():
        group = parser.add_argument_group(title)
        for port in ports:
            metavar = "FOLDER" if port.is_artifact else port.type.upper()
            group.add_argument(port.flag, dest=port.name, metavar=metavar, help=_help(port))
    return parser


def _help(port: Port) -> str:
    notes = [port.type] if port.is_artifact else []
    if port.is_optional:
        notes.append("optional")
    if port.default is not None:
        default = str(port.default).lower() if port.type == "boolean" else port.default
        notes.append(f"default: {default!r}" if default == "" else f"default: {default}")
    if port.enum:
        notes.append("one of " + ", ".join(map(str, port.enum)))
    if port.minimum is not None:
        notes.append(f"from {port.minimum}")
    if port.maximum is not None:
        notes.append(f"to {port.maximum}")
    text = port.description + (f" ({'; '.join(notes)})" if notes else "")
    return text.replace("%", "%%")


def _describe(
    spec: ComponentSpec, err: OSError, values: Mapping[str, ParameterValue | Path | None]
) -> str:
    """Say what happened and where; a full disk seldom says where it is."""
    where, remedy = err.filename, ""
    if err.errno in _NO_ROOM:
        outputs = [path for name in spec.outputs if isinstance(path := values.get(name), Path)]
        where = where or min(outputs, key=lambda path: shutil.disk_usage(path).free, default="")
        remedy = "; free some space or mount a larger volume"
    return f"{spec.name}: {err.strerror or err}{f': {where}' if where else ''}{remedy}"


def _fail(spec: ComponentSpec, layout: Layout, reason: str, status: int) -> int:
    """Say why on stderr and where the platform looks for it."""
    sys.stderr.write(f"error: {reason}\n")
    if spec.is_serving:  # the platform shows its log
        return status
    path = layout.explanation_file(spec)
    try:
        if layout.base.is_dir():  # absent where somebody runs the module by hand
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(reason[:_FAILURE_REASON_CHARS])
    except OSError as err:
        log.warning("cannot write %s: %s", path, err)
    return status


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)
