"""Routes: models, device, health, metrics."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response

from promptseg.app.door.caller import Caller, Who
from promptseg.app.door.statuses import ERRORS, Error
from promptseg.app.live.exporting import EXPORTS
from promptseg.app.live.jobs import TellProgress
from promptseg.app.live.queueing import Priority
from promptseg.app.service.jobs import shown_job
from promptseg.app.service.schema import ConfigOut, EntryOut, JobOut, ModelOut, PullIn
from promptseg.app.service.work import threaded
from promptseg.app.state import AppState
from promptseg.errors import UnknownModelError
from promptseg.models.loading import loaded_models
from promptseg.models.runtime import choose_device
from promptseg.models.weights.registry import ModelCard, model_card, model_cards
from promptseg.models.weights.store import Store

__all__ = ["open_router", "router"]

router = APIRouter(responses=ERRORS)
open_router = APIRouter(tags=["system"])
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def _cards(who: Caller) -> list[ModelCard]:
    allowed = who.state.settings.models
    cards = model_cards()
    listed = cards.values() if isinstance(cards, dict) else cards
    return [card for card in listed if not allowed or card.id in allowed]


@router.get("/models", response_model=list[ModelOut], tags=["models"])
async def models(who: Who) -> Any:
    """List the models that can be chosen, with licence and whether they are on this machine."""
    return await threaded(_listed, who)


def _listed(who: Caller) -> list[dict[str, Any]]:
    store = Store()
    return [
        {
            "id": card.id,
            "title": card.title,
            "licence": card.licence,
            "commercial_use": card.commercial_use,
            "speed_note": card.advice,
            "downloaded": store.is_here(card),
            "size_bytes": sum(file.bytes for file in card.files),
            "prompts": list(card.prompts),
            "unchecked": list(store.unchecked(card)),
        }
        for card in _cards(who)
        if card.dimensions == 2
    ]


@router.post("/models/{model_id}/pull", status_code=202, response_model=JobOut, tags=["models"])
async def pull(who: Who, model_id: str, body: PullIn | None = None) -> Any:
    """Download a model; a job with progress."""
    wanted = body or PullIn()
    if not any(card.id == model_id for card in await threaded(_cards, who)):
        raise UnknownModelError(f"no model {model_id!r} here; GET /models lists them")
    card = model_card(model_id)

    def call(report: TellProgress) -> None:
        Store().pull(
            card,
            accept_licence=wanted.accept_licence,
            trust_on_first_use=wanted.trust_on_first_use,
            on_bytes=lambda done, total: report(int(done), int(total or 0), 0.0),
        )

    job = await threaded(who.state.jobs.plain, who.user, "pull", call)
    return shown_job(job)


EXTRAS = {"wholebody": ("totalsegmentator", "wholebody"), "sam": ("torch", "sam"), "report_pdf": ("reportlab", "app")}


@router.get("/config", response_model=ConfigOut, tags=["system"])
async def config(who: Who) -> Any:
    """Say what this server can do: for a page that shows only what works."""
    settings = who.state.settings
    here = {name: find_spec(module) is not None for name, (module, _) in EXTRAS.items()}
    missing = {name: f'pip install "promptseg[{EXTRAS[name][1]}]"' for name, there in here.items() if not there}
    return {
        "version": version("promptseg"),
        "user": who.user,
        "auth": settings.auth,
        "max_upload_bytes": settings.limits.upload_bytes,
        "folders": bool(settings.roots),
        "dicom_sources": list(settings.dicom_sources),
        "extras": here,
        "install": missing,
        "formats": [name for name in EXPORTS if name != "report.pdf" or here["report_pdf"]],
    }


@router.get("/folder", response_model=list[EntryOut], tags=["studies"])
async def folder(who: Who, path: Annotated[str, Query(max_length=4096)] = "") -> Any:
    """List a folder below the server's roots; the roots themselves without a path."""
    return [
        {"name": name, "path": below, "kind": kind}
        for name, below, kind in await threaded(who.state.catalogue.listing, path)
    ]


@router.get("/device", response_model=dict[str, Any], tags=["system"])
async def device(who: Who) -> Any:
    """Say where models run, and which are loaded."""
    chosen = await threaded(choose_device, who.state.settings.device)
    loaded = [
        {key: value for key, value in vars(one).items() if isinstance(value, str | int | float)}
        for one in loaded_models().report()
    ]
    waits = {
        name: round(queue.wait_s(who.user, Priority.INTERACTIVE), 3)
        for name, queue in who.state.sessions.queues.by_model().items()
    }
    return {"device": str(chosen), "loaded": loaded, "wait_s": waits}


@open_router.get("/health", response_model=dict[str, str], responses={503: {"model": Error, "description": "It hangs"}})
async def health(request: Request) -> dict[str, str]:
    """Say that the server is up and its models answer; needs no login and tells nothing else."""
    state: AppState = request.app.state.promptseg
    if state.sessions.queues.silent_s() > state.settings.limits.stuck_s:
        raise HTTPException(503, "a model does not answer any more")
    return {"status": "ok", "version": version("promptseg")}


@open_router.get("/ready", response_model=dict[str, str], responses={503: {"model": Error, "description": "Not now"}})
async def ready(request: Request) -> dict[str, str]:
    """Say that the next request can be served: the store answers, the disk takes a file, no model hangs."""
    state: AppState = request.app.state.promptseg
    await health(request)
    trouble = await threaded(state.trouble)
    if trouble:
        raise HTTPException(503, trouble, {"Retry-After": "10"})
    return {"status": "ready"}


@router.get("/metrics", response_class=Response, tags=["system"], responses={200: {"content": {PROMETHEUS: {}}}})
async def metrics(who: Who) -> Response:
    """Return this process's numbers for Prometheus."""
    numbers = who.request.app.state.metrics
    for name, value in who.state.sessions.counts().items():
        numbers.gauge(name, f"present number of {name.replace('_', ' ')}", value)
    numbers.gauge("jobs", "jobs that have not ended", who.state.jobs.running())
    return Response(numbers.text(), media_type=PROMETHEUS)
