"""One FastAPI application: REST v1, and whatever faces are mounted on it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from promptseg.app.door.guard import Guard
from promptseg.app.door.login import add_login
from promptseg.app.door.metrics import Metrics
from promptseg.app.door.statuses import add_error_handlers
from promptseg.app.protocols import IMAGE_PATHS, add_protocols
from promptseg.app.service import description, jobs, masks, organs, results, sessions, studies, system
from promptseg.app.settings import ServeSettings
from promptseg.app.state import AppState
from promptseg.errors import PromptsegError

__all__ = ["API", "create_app"]

LOGGER = logging.getLogger(__name__)
API = "/api/v1"
ABOUT = "Promptable segmentation of medical images. Research use only: not a medical device."


def create_app(settings: ServeSettings) -> FastAPI:
    """Make the application; its state opens here and closes with it.

    Raises:
        SettingsError: the store or the data folder cannot be used.
    """
    state = AppState.make(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            state.close()

    app = FastAPI(
        title="promptseg",
        version="1",
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,  # its pages load scripts from other hosts
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
    )
    app.state.promptseg = state
    app.state.metrics = Metrics()
    add_error_handlers(app)
    api = APIRouter(prefix=API)
    for part in (studies, sessions, masks, organs, results, jobs, system):
        api.include_router(part.router)
    api.include_router(results.collection)
    api.include_router(system.open_router)
    app.include_router(api)
    app.include_router(description.router)
    add_login(app, state)
    add_protocols(app)
    app.add_middleware(Guard, state=state, metrics=app.state.metrics, uploads=(f"{API}/studies", *IMAGE_PATHS))
    app.openapi = partial(description.describe_api, app, settings.auth)  # type: ignore[method-assign]  # FastAPI's own way
    if settings.origins:  # viewers that are pages of another address, such as OHIF
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=["X-Meta"],
        )
    if settings.trusted_proxies:  # outermost: the guard sees whom the proxy saw
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    if settings.ui:
        try:
            from promptseg.app.ui import mount_ui  # late: it imports gradio

            mount_ui(app)
        except PromptsegError as exc:
            LOGGER.warning("without the browser app: %s", exc)
    return app
