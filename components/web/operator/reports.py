"""Reports that steps wrote: self-contained pages, shown without any right in our own.

They are pages of our pipeline, but of whatever images somebody uploaded; so they come with a
policy of their own, under which nothing runs and nothing is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi.responses import HTMLResponse, RedirectResponse, Response

from components.web.errors import NotFound
from components.web.operator.asking import asking
from shared.component.object_store import S3Store, open_store

POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# Lambda answers 6 MB at most, and not a byte of a larger answer arrives.
_LARGEST = 5_000_000
_LINK_S = 60


@dataclass(frozen=True)
class ReportPage:
    """Where a page is: its bytes, or an address of S3 that holds for a minute."""

    html: bytes = b""
    link: str = ""

    def response(self) -> Response:
        if self.link:
            return RedirectResponse(self.link, 303, {"Cache-Control": "no-store"})
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "private, max-age=300"}
        return HTMLResponse(self.html, headers=headers)


def open_report(folder: str, name: str, s3: Any) -> ReportPage:
    """Return a page; one on S3 that is too large for an answer as a link.

    Raises:
        WebError: it is not there, or cannot be read.
    """
    with asking("report"):
        store = open_store(folder, s3)
        size = next((entry.size for entry in store.list(name) if entry.key == name), None)
        if size is None:
            raise NotFound(f"report: {folder}/{name} is not there any more")
        if size > _LARGEST and isinstance(store, S3Store):
            parts = urlsplit(f"{folder}/{name}")
            place = {"Bucket": parts.netloc, "Key": parts.path.lstrip("/")}
            return ReportPage(
                link=s3.generate_presigned_url("get_object", Params=place, ExpiresIn=_LINK_S)
            )
        html = store.get(name)
    if html is None:
        raise NotFound(f"report: {folder}/{name} is not there any more")
    return ReportPage(html)
