"""A component folder as small as it can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

DECLARATION = """
name: {name}
description: Count sheep.
kind: {kind}
inputs:
  flock: {{type: Dataset, description: "Sheep."}}
  fence: {{type: Annotations, optional: true, description: "A fence, where there is one."}}
  jumps: {{type: integer, default: 3, minimum: 1, maximum: 9, description: "Jumps a sheep."}}
  height: {{type: number, default: 0.5, description: "Height in metres."}}
  asleep: {{type: boolean, default: false, description: "Whether they sleep."}}
  colour: {{type: string, default: white, enum: [white, black], description: "Colour."}}
outputs:
  tally: {{type: Report, description: "How many."}}
implementation:
  container: {{image: sheep, command: [python, -m, components.sheep]}}
"""

MakeFolder = Callable[..., Path]
