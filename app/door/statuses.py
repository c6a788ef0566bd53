"""Errors become a status and one sentence, here and nowhere else."""

from __future__ import annotations

import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from promptseg.app.errors import BusyError, HeldElsewhereError, NotFoundError, UploadTooLargeError
from promptseg.errors import (
    Cancelled,
    MissingExtraError,
    PromptsegError,
    ReplayError,
    UnknownModelError,
)

__all__ = ["CODES", "ERRORS", "Error", "add_error_handlers", "body_of_error", "status_of"]


class Error(BaseModel):
    """What went wrong: one sentence for a person, and for programs a code with what they need to go on."""

    model_config = ConfigDict(extra="allow")  # an error's other facts: limit, retry_after_s, package, ...
    code: str
    detail: str
    choices: list[str] | None = None


LOGGER = logging.getLogger(__name__)
STATUS: tuple[tuple[type[PromptsegError], int], ...] = (
    (NotFoundError, 404),
    (UploadTooLargeError, 413),
    (UnknownModelError, 404),
    (MissingExtraError, 501),
    (HeldElsewhereError, 503),
    (Cancelled, 409),
    (ReplayError, 409),
    (PromptsegError, 422),
)
TEXTS = {
    400: "The request is malformed",
    401: "Nobody is logged in, or the key is unknown",
    403: "The request comes from another site",
    404: "There is no such thing, or it belongs to somebody else",
    409: "The session is in another state",
    413: "Too large",
    422: "The request makes no sense here; the sentence says why",
    429: "Too many requests",
    501: "Not installed",
    503: "Busy; see Retry-After",
}
CODES = {  # of what no class of ours stands for
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "upload_too_large",
    429: "busy",
    503: "busy",
}
ERRORS: dict[int | str, dict[str, Any]] = {code: {"model": Error, "description": text} for code, text in TEXTS.items()}


def status_of(exc: PromptsegError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(exc, BusyError):
        return 429 if exc.own else 503
    return next(code for kind, code in STATUS if isinstance(exc, kind))


def body_of_error(exc: PromptsegError) -> dict[str, Any]:
    """Return what an error looks like on the wire: {"code", "detail"} and its facts."""
    return {**exc.facts, "code": exc.code, "detail": str(exc)}


def add_error_handlers(app: FastAPI) -> None:
    """Make every error an answer {"code": "<its kind>", "detail": "<one sentence>", ...}."""
    app.add_exception_handler(PromptsegError, _promptseg)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _promptseg(_: Request, exc: Exception) -> JSONResponse:
    headers = {}
    if not isinstance(exc, PromptsegError):
        raise exc
    status = status_of(exc)
    if isinstance(exc, BusyError):
        headers["Retry-After"] = str(max(1, math.ceil(exc.retry_after_s)))
    elif status == 503:
        headers["Retry-After"] = "1"
    return JSONResponse(body_of_error(exc), status, headers)


async def _validation(_: Request, exc: Exception) -> JSONResponse:
    errors = exc.errors() if isinstance(exc, RequestValidationError) else []
    first = errors[0] if errors else {"loc": (), "msg": "the request is malformed"}
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    message = str(first["msg"])[:300]
    return JSONResponse({"code": "invalid", "detail": f"{where}: {message}" if where else message}, 422)


async def _http(request: Request, exc: Exception) -> JSONResponse:
    if not isinstance(exc, HTTPException):
        raise exc
    headers = dict(exc.headers or {})
    if exc.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request)) or headers.get("Allow", "")
    code = CODES.get(exc.status_code, "refused")
    return JSONResponse({"code": code, "detail": str(exc.detail)}, exc.status_code, headers)


def _methods(request: Request) -> list[str]:
    """Return the methods of all described routes with this path; the framework tells those of one route only."""
    found: set[str] = set()
    for path, operations in request.app.openapi()["paths"].items():
        if compile_path(path)[0].match(request.url.path):
            found |= {method.upper() for method in operations}
    return sorted(found)


async def _unexpected(request: Request, exc: Exception) -> JSONResponse:
    LOGGER.error("unexpected %s in %s", type(exc).__name__, request.scope.get("route"), exc_info=exc)
    detail = f"unexpected {type(exc).__name__}; the server's log has more"
    return JSONResponse({"code": "unexpected", "detail": detail}, 500)
