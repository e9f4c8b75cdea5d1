"""The hint that ends a message about an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the nearest known name as a question, else all of them."""
    names = sorted(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else f"; there are {', '.join(names)}"
