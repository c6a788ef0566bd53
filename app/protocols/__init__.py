"""Wire protocols that existing viewers speak, each a thin adapter over one engine session in memory."""

from __future__ import annotations

from fastapi import FastAPI

__all__ = ["IMAGE_PATHS", "add_protocols"]

IMAGE_PATHS = (  # where viewers send whole images and masks; the paths begin so
    "/set_image",
    "/add_",
    "/upload_raw/",
    "/v2/upload_raw/",
    "/process_",
    "/v2/process_",
    "/infer/",
    "/session/",
    "/datastore/",
)


def add_protocols(app: FastAPI) -> None:
    """Add all viewers' protocols to an application whose ``state.promptseg`` is an ``AppState``.

    Call it before anything is mounted at "/": unknown paths must answer 404.
    """
    from promptseg.app.protocols import itksnap, monailabel, nninteractive

    for module in (nninteractive, itksnap, monailabel):
        module.add(app)
