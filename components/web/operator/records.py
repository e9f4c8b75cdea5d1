"""What crosses the API's edge: frozen, and exact in OpenAPI."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Root of all that is answered."""

    # JSON knows no NaN: what is none is refused where it is read, not where it is sent.
    model_config = ConfigDict(frozen=True, allow_inf_nan=False, protected_namespaces=())


class Body(BaseModel):
    """Root of all that is asked; what is not known is refused, since it is misspelt."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
