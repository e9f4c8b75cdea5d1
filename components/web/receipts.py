"""A prediction as the server gave it, signed, so that feedback on it can be believed.

The server keeps no predictions: whoever gives feedback brings the receipt and the image.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeTimedSerializer

from components.web.errors import BadInput
from shared.component.feedback import Prediction

_SALT = "visionloop.prediction"


@dataclass(frozen=True)
class Receipts:
    """Writes and reads receipts. key: what sessions are signed with; max_age_s: then void."""

    key: str
    max_age_s: float

    def write(self, image: bytes, shown: Prediction) -> str:
        """Return the receipt of what was shown for an encoded image."""
        body = [_digest(image), shown.model_version, shown.request_id, shown.probabilities]
        return self._serializer.dumps(body)

    def read(self, receipt: str, image: bytes) -> Prediction:
        """Return what was shown.

        Raises:
            BadInput: it is none of ours, too old, or of another image.
        """
        try:
            body = self._serializer.loads(receipt, max_age=self.max_age_s)
        except BadData as err:
            raise BadInput("this prediction is too old; classify the image again") from err
        digest, model_version, request_id, probabilities = body
        if digest != _digest(image):
            raise BadInput("this prediction is of another image; classify this one first")
        return Prediction(model_version, probabilities, request_id)

    @property
    def _serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.key, salt=_SALT)


def _digest(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()
