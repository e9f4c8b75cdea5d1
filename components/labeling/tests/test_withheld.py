"""Which images are measured is asked again, but not for every request."""

from __future__ import annotations

from components.labeling.tests.backend import QUEUE, FakeQueue
from components.labeling.withheld import Withheld
from shared.component.review_queue import audit_key

FIRST, LATER = "a" * 64, "b" * 64


def test_an_image_that_is_drawn_later_is_withheld_soon() -> None:
    queue, now_s = FakeQueue(), [0.0]
    withheld = Withheld(queue, QUEUE, 0.0, clock=lambda: now_s[0])
    queue.objects[QUEUE.key(audit_key(FIRST))] = b"{}"
    for now_s[0], expected in ((0.0, False), (9.9, False), (10.1, True)):
        withheld.refresh()
        assert withheld(FIRST)
        assert withheld(LATER) is expected
        queue.objects[QUEUE.key(audit_key(LATER))] = b"{}"
