"""``promptseg serve``: the browser app, REST and the viewers' protocols on one port."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptseg.errors import MissingExtraError

__all__ = ["serve"]

DEFAULT_DATA = Path("~/.local/share/promptseg")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 7860,
    auth: Annotated[
        str, typer.Option(help="Who may come in: none (this machine only), keys, password, oidc.")
    ] = "none",
    insecure: Annotated[bool, typer.Option("--insecure", help="Let anyone in who reaches the address.")] = False,
    store: Annotated[str, typer.Option(help="sqlite:///PATH or postgresql://...; default: in the data folder.")] = "",
    data: Annotated[Path, typer.Option(help="Folder of studies and sessions.")] = DEFAULT_DATA,
    root: Annotated[list[Path] | None, typer.Option(help="Folder whose images people may open. Repeatable.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    model: Annotated[list[str] | None, typer.Option(help="Model that may be used (default: all). Repeatable.")] = None,
) -> None:
    """Serve the browser app and the REST API."""
    try:
        import uvicorn

        from promptseg.app.service.application import create_app
    except ModuleNotFoundError as exc:
        raise MissingExtraError(str(exc.name), "app") from exc
    from promptseg.app.settings import ServeSettings

    settings = ServeSettings(
        data=data,
        store=store,
        host=host,
        port=port,
        auth=auth,
        insecure=insecure,
        roots=tuple(root or ()),
        device=device,
        models=tuple(model or ()),
    )
    app = create_app(settings)
    typer.echo(f"promptseg: http://{host}:{port}/ (research use only: not a medical device)", err=True)
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=10)
