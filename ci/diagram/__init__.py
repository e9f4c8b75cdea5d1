"""python -m ci diagram: draw services and what triggers what, from templates and pipeline."""

from ci.diagram.command import check_diagram as check_diagram
from ci.diagram.command import main as main
