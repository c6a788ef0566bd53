"""``promptseg app``: the browser app for one person on this machine."""

from __future__ import annotations

import socket
import threading
import webbrowser
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from promptseg.cli.options import DeviceName
from promptseg.cli.serve import DEFAULT_DATA
from promptseg.errors import MissingExtraError, ReadError, SettingsError

__all__ = ["app_command", "free_port"]

HOST = "127.0.0.1"
TRIED_PORTS = 20


def app_command(
    path: Annotated[
        Path | None, typer.Argument(help="Image or folder to open at once; also a folder to choose from.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; the next free one is taken.", min=1, max=65535)] = 7860,
    data: Annotated[Path, typer.Option(help="Folder of studies and sessions.")] = DEFAULT_DATA,
    device: DeviceName = "auto",
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Open the browser app: look, click, correct, measure, export. Only this machine can reach it."""
    try:
        from promptseg.app.server import run
        from promptseg.app.ui import require_library
    except ModuleNotFoundError as exc:
        raise MissingExtraError(str(exc.name), "app") from exc
    from promptseg.app.settings import ServeSettings

    require_library()
    roots: tuple[Path, ...] = ()
    question = ""
    if path is not None:
        path = path.expanduser().resolve()
        if not path.exists():
            raise ReadError(f"expected a file or folder to open, got {path}, which does not exist")
        roots = (path if path.is_dir() else path.parent,)
        question = f"?open={quote(str(path))}"
    port = free_port(port)
    settings = ServeSettings(data=data, host=HOST, port=port, roots=roots, device=device, log_level="warning", ui=True)
    address = f"http://{HOST}:{port}/{question}"
    typer.echo(f"promptseg: {address} (research use only: not a medical device; Ctrl+C ends it)", err=True)
    if browser:
        threading.Timer(1.0, webbrowser.open, (address,)).start()
    run(settings)


def free_port(first: int) -> int:
    """Return the first port from ``first`` on that nobody listens on.

    Raises:
        SettingsError: twenty in a row are taken.
    """
    for port in range(first, min(first + TRIED_PORTS, 65536)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise SettingsError(f"expected a free port from {first} on, found {TRIED_PORTS} in use; choose another with --port")
