"""Start executions as processes of their own, and stop them.

What is started is `python pipeline.py --start --backend local`, in a session of its own:
it goes on when this server ends. <home>/starts/ keeps what it was told and what it said.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from shared.component.files import write_json
from shared.pipeline.execution import ENDED, Execution, timestamp
from shared.pipeline.local_aws.call import Call, Json, Operations, moment
from shared.pipeline.local_aws.errors import invalid
from shared.pipeline.local_aws.executions import STARTED, Executions
from shared.pipeline.settings import Settings

_PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}")
_TOKEN = re.compile(r"[\x21-\x7e]{32,128}")
_START_S = 60.0
_POLL_S = 0.05
_CLOCK_S = 2.0  # between the kernel's idea of a process's start and ours
_REASON_CHARS = 1000


@dataclass(frozen=True)
class Starts:
    """Starts and stops executions.

    environ: of the processes that are started.
    """

    settings: Settings
    executions: Executions
    environ: Mapping[str, str]

    @property
    def operations(self) -> Operations:
        return {"StartPipelineExecution": self.start, "StopPipelineExecution": self.stop}

    def start(self, call: Call) -> Json:
        """Start an execution once, however often one token asks for it.

        Raises:
            ApiError: a parameter is refused, by the process that was started.
        """
        from filelock import FileLock

        name = call.name("PipelineName")
        words = self._words(name, call)
        token = call.text("ClientRequestToken")
        if not _TOKEN.fullmatch(token):
            raise invalid("ClientRequestToken has from 32 to 128 characters")
        folder = self.settings.home / "starts" / hashlib.sha256(token.encode()).hexdigest()[:32]
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            execution = self._known(folder, name)
            if execution is None:
                execution = self._start(words, folder, name)
                self._remember(execution, call)
        return {"PipelineExecutionArn": execution.arn}

    def stop(self, call: Call) -> Json:
        """Ask an execution's process to stop.

        Raises:
            ApiError: it runs no more.
        """
        execution = self.executions.find(call.text("PipelineExecutionArn"))
        if execution.status in ENDED:
            raise invalid(
                f"Pipeline execution with ARN {execution.arn} is {execution.status}; only an "
                "execution with status Executing can be stopped."
            )
        process = _process_of(execution)
        if process is None:
            raise invalid(
                f"Pipeline execution with ARN {execution.arn}: process {execution.process_id} is "
                "not the one that runs it."
            )
        self.executions.mark_stopping(execution.arn)
        process.terminate()
        return {"PipelineExecutionArn": execution.arn}

    def _words(self, name: str, call: Call) -> list[str]:
        words = ["pipeline.py", "--backend", "local", "--name", name, "--start"]
        if not self.executions.definition_file(name).is_file():
            words.append("--upsert")
        for parameter in call.body.get("PipelineParameters", []):
            if not _PARAMETER.fullmatch(parameter["Name"]):
                raise invalid(f"PipelineParameters: {parameter['Name']!r} is no parameter's name")
            words += ["-p", f"{parameter['Name']}={parameter['Value']}"]
        return words

    def _known(self, folder: Path, name: str) -> Execution | None:
        """Return the execution that this token started, even if nobody lived to tell of it."""
        try:
            before: Json = json.loads((folder / "process.json").read_text())
        except FileNotFoundError:
            return None
        return self._await(name, before["process_id"], before["start"])

    def _start(self, words: Sequence[str], folder: Path, name: str) -> Execution:
        log, start = folder / "log.txt", timestamp()
        environ = {
            **self.environ,
            "VISIONLOOP_HOME": str(self.settings.home),
            "AWS_REGION": self.settings.region,
            "PYTHONUNBUFFERED": "1",
        }
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=self.settings.root,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        write_json(folder / "process.json", {"process_id": process.pid, "start": start})
        # An ended child that nobody collects would look as if it still ran.
        threading.Thread(target=process.wait, name="starts", daemon=True).start()
        found = self._await(name, process.pid, start)
        if found is None:
            (folder / "process.json").unlink()
            process.terminate()
            raise invalid(_reason(log))
        return found

    def _await(self, name: str, process_id: int, start: str) -> Execution | None:
        """Wait until a process has an execution or is gone; None: it never had one."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            is_there = _is_alive(process_id)
            if found := self._of(name, process_id, start):
                return found
            if not is_there:
                return None
            time.sleep(_POLL_S)
        return None

    def _of(self, name: str, process_id: int, start: str) -> Execution | None:
        """Return the execution that a process has run since a moment."""
        for execution in self.executions.of(name):
            if execution.process_id == process_id and execution.start >= start:
                return execution
        return None

    def _remember(self, execution: Execution, call: Call) -> None:
        """Keep what an execution's file has no place for."""
        names = ("PipelineExecutionDisplayName", "PipelineExecutionDescription")
        told = {name: call.text(name) for name in names if call.body.get(name)}
        folder = self.executions.folder(execution.arn)
        if folder:
            write_json(folder / STARTED, {**told, "Caller": call.caller})


def _is_alive(process_id: int) -> bool:
    """Tell whether a process runs; one that nobody has collected yet does not."""
    try:
        return bool(psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _process_of(execution: Execution) -> psutil.Process | None:
    """Return the process that runs an execution; None where the number is another's by now."""
    try:
        process = psutil.Process(execution.process_id)
        is_older = process.create_time() <= moment(execution.start) + _CLOCK_S
        is_ours = any(Path(word).name == "pipeline.py" for word in process.cmdline())
    except psutil.Error:
        return None
    return process if is_older and is_ours else None


def _reason(log: Path) -> str:
    """Return what the command line says is wrong."""
    text = log.read_text(errors="replace").strip()
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    said = errors[-1].removeprefix("error: ") if errors else text[-_REASON_CHARS:]
    return said or f"pipeline.py ended without a word; see {log.parent}"
