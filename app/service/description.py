"""The API's description: OpenAPI with what a client must send to be known, and a page of it from this host alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse

from promptseg.app.door.guard import COOKIE
from promptseg.report.page import fill

__all__ = ["describe_api", "router"]

TEMPLATE = Path(__file__).with_name("description.html.jinja")
SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "promptseg users key NAME prints one"},
    "login": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "of a browser that logged in at /login"},
}
OPEN = ("/api/v1/health", "/api/v1/ready")  # need nobody
router = APIRouter(include_in_schema=False)


def describe_api(app: FastAPI, auth: str) -> dict[str, Any]:
    """Return the OpenAPI description, made at the first call; on a server without users nothing has to be sent."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        if auth != "none":
            schema["components"]["securitySchemes"] = SCHEMES
            schema["security"] = [{name: []} for name in SCHEMES]
            for path in OPEN:
                for operation in schema["paths"][path].values():
                    operation["security"] = []
        app.openapi_schema = schema
    return app.openapi_schema


@router.get("/api/v1/docs", response_class=HTMLResponse)
async def page(request: Request) -> HTMLResponse:
    """Show the description to a person: no script, nothing from elsewhere."""
    schema = request.app.openapi()
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            row = {"method": method.upper(), "path": path, **operation}
            groups.setdefault(next(iter(operation.get("tags", ["other"]))), []).append(row)
    text = fill(TEMPLATE, title=schema["info"]["title"], about=schema["info"]["description"], groups=groups)
    return HTMLResponse(text, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})
