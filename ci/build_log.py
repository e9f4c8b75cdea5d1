"""What BuildKit says while it builds (`--progress=plain`), line by line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TAIL = 12  # lines that are shown of a failed step; the log has them all
_LINE = re.compile(r"#(?P<number>\d+) (?P<text>.*)")
_STEP = re.compile(r"\[[^\]]*\d+/\d+\]")
_OUTPUT = re.compile(r"\d+\.\d+ (?P<said>.*)")
_NO_SPACE = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)


@dataclass
class BuildLog:
    """Follows one build: the step it is in, and which step failed with what words."""

    step: str = ""
    failed: str = ""
    reason: str = ""
    has_no_space: bool = False
    _steps: dict[str, str] = field(default_factory=dict)
    _said: dict[str, list[str]] = field(default_factory=dict)

    def read(self, line: str) -> bool:
        """Take one line; True where it begins a step of the Dockerfile."""
        self.has_no_space = self.has_no_space or bool(_NO_SPACE.search(line))
        if line.startswith("ERROR: "):
            self.reason = self.reason or line.removeprefix("ERROR: ").strip()
        if not (found := _LINE.match(line)):
            return False
        number, text = found["number"], found["text"].strip()
        if number not in self._steps:
            self._steps[number] = text
            if _STEP.match(text):
                self.step = text
                return True
        elif text.startswith("ERROR: "):
            self.failed, self.reason = self._steps[number], text.removeprefix("ERROR: ")
            self._said.setdefault("", self._said.get(number, []))
        elif output := _OUTPUT.match(text):
            self._said.setdefault(number, []).append(output["said"])
        return False

    @property
    def tail(self) -> list[str]:
        """The last lines of the step that failed."""
        return self._said.get("", [])[-_TAIL:]
