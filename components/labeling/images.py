"""Read the review queue's images, and nothing else that a task's data may name.

Whoever may edit tasks in Label Studio chooses what this service reads with its own rights.
So a name must be one that the endpoint gave: the queue's bucket, its prefix, 64 hexadecimal
digits and an extension. Nothing is normalised, unquoted or followed.
"""

from __future__ import annotations

from collections.abc import Callable

from components.labeling.errors import NoSuggestionError
from components.labeling.settings import Place
from shared.component import review_queue
from shared.component.errors import StorageError

ReadObject = Callable[[str, int], bytes]  # shared.component.objects.ObjectReader


class QueueImages:
    """Call it with what a task's data says; it returns the image's sha256 and bytes.

    place: where the queue's images lie.
    read: gets the object of an s3:// URI, at most so many bytes.
    """

    def __init__(self, place: Place, read: ReadObject, max_bytes: int) -> None:
        self._prefix = place.uri
        self._read = read
        self._max_bytes = max_bytes

    def sha256_of(self, uri: object) -> str:
        """Return the hash in an image's name.

        Raises:
            NoSuggestionError: it is no image of the queue.
        """
        name = uri.removeprefix(self._prefix) if isinstance(uri, str) else ""
        is_below = isinstance(uri, str) and uri.startswith(self._prefix)
        if not is_below or not review_queue.IMAGE_NAME.fullmatch(name):
            raise NoSuggestionError("place", f"{str(uri)[:200]!r} is no image below {self._prefix}")
        return name.partition(".")[0]

    def read(self, uri: str) -> bytes:
        """Return the bytes of an image whose name `sha256_of` has accepted.

        Raises:
            NoSuggestionError: it is not there, is too large, or S3 is away.
        """
        try:
            return self._read(uri, self._max_bytes)
        except StorageError as err:
            raise NoSuggestionError("missing", str(err)) from err
