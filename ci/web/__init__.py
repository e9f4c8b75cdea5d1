"""python -m ci web: the web pages, what they show and what serves, on this machine."""

from ci.web.command import main as main
