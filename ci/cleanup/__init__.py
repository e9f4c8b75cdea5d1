"""python -m ci cleanup: list what the project made in AWS; remove all of it when told to."""

from ci.cleanup.command import main as main
