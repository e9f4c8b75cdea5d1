"""Every route of the operator's part; the application includes them."""

from __future__ import annotations

from fastapi import APIRouter

from components.web.operator import (
    api_models,
    api_runs,
    api_upkeep,
    pages_models,
    pages_runs,
    pages_upkeep,
)

ROUTERS: tuple[APIRouter, ...] = (
    api_runs.router,
    api_models.router,
    api_upkeep.router,
    pages_runs.router,
    pages_models.router,
    pages_upkeep.router,
)
