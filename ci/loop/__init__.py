"""python -m ci loop: the whole labelling loop on this machine, with a real Label Studio."""

from ci.loop.command import main as main
