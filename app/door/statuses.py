"""Errors become a status and one sentence, here and nowhere else."""

from __future__ import annotations

import errno
import logging
import math
import re
import tempfile
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from promptseg.app.errors import BusyError, ForbiddenError, HeldElsewhereError, NotFoundError, UploadTooLargeError
from promptseg.errors import (
    Cancelled,
    MissingExtraError,
    PromptsegError,
    ReplayError,
    UnknownModelError,
    WriteError,
)

__all__ = ["CODES", "ERRORS", "Error", "add_error_handlers", "body_of_error", "status_of"]


class Error(BaseModel):
    """What went wrong: one sentence for a person, and for programs a code with what they need to go on."""

    model_config = ConfigDict(extra="allow")  # an error's other facts: limit, retry_after_s, package, ...
    code: str
    detail: str
    choices: list[str] | None = None


LOGGER = logging.getLogger(__name__)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STATUS: tuple[tuple[type[PromptsegError], int], ...] = (
    (NotFoundError, 404),
    (UploadTooLargeError, 413),
    (ForbiddenError, 403),
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
    403: "The request comes from another site, or the study is shared for looking only",
    404: "There is no such thing, or it belongs to somebody else",
    409: "The session is in another state",
    413: "Too large",
    422: "The request makes no sense here; the sentence says why",
    429: "Too many requests",
    501: "Not installed",
    503: "Busy; see Retry-After",
    507: "The disk is full",
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
# By reference: FastAPI builds a validator for every "model" of every route, half of what making an application took.
_BODY = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": _BODY} for code, text in TEXTS.items()
}


def status_of(exc: PromptsegError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(exc, BusyError):
        return 429 if exc.own else 503
    if isinstance(exc, WriteError) and isinstance(exc.__cause__, OSError):
        return 507 if exc.__cause__.errno in FULL else 503
    return next(code for kind, code in STATUS if isinstance(exc, kind))


def body_of_error(exc: PromptsegError) -> dict[str, Any]:
    """Return what an error looks like on the wire: {"code", "detail"} and its facts."""
    return {**exc.facts, "code": exc.code, "detail": str(exc)}


def add_error_handlers(app: FastAPI) -> None:
    """Make every error an answer {"code": "<its kind>", "detail": "<one sentence>", ...}."""
    app.add_exception_handler(PromptsegError, _promptseg)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OSError, _disk)
    app.add_exception_handler(SQLAlchemyError, _store)
    app.add_exception_handler(Exception, _unexpected)


async def _promptseg(request: Request, exc: Exception) -> JSONResponse:
    headers = {}
    if not isinstance(exc, PromptsegError):
        raise exc
    status = status_of(exc)
    if isinstance(exc, BusyError):
        headers["Retry-After"] = str(max(1, math.ceil(exc.retry_after_s)))
    elif status in (503, 507):
        headers["Retry-After"] = "1" if status == 503 else "60"
    body = body_of_error(exc)
    return JSONResponse({**body, "detail": _without_paths(request, body["detail"])}, status, headers)


def _without_paths(request: Request, text: str) -> str:
    """Return a sentence without the places of the server's own folders."""
    settings = request.app.state.promptseg.settings
    for folder in sorted({str(settings.data), *map(str, settings.roots), tempfile.gettempdir()}, key=len, reverse=True):
        text = re.sub(rf"{re.escape(folder)}(/sessions/[0-9a-f]+|/studies/[0-9a-f]+)?/?", "", text)
    return text


async def _disk(request: Request, exc: Exception) -> JSONResponse:
    full = isinstance(exc, OSError) and exc.errno in FULL
    if not full:
        return await _unexpected(request, exc)
    detail = "the server's disk is full; nothing was changed"
    return JSONResponse({"code": "write", "detail": detail}, 507, {"Retry-After": "60"})


async def _store(_: Request, exc: Exception) -> JSONResponse:
    LOGGER.error("the store failed: %s", type(exc).__name__, exc_info=exc)
    detail = "the server's store does not answer at the moment; nothing is lost, try again"
    return JSONResponse({"code": "busy", "detail": detail}, 503, {"Retry-After": "5"})


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
