"""The browser app: Gradio is the frame, the picture is our page around NiiVue, both on the service's application.

The page talks to /api/v1 on the same origin by itself; nothing goes through Gradio's queue. Gradio's own statistics and
its look-ups of other hosts are switched off: nothing leaves the machine.
"""

from __future__ import annotations

import csv
import os
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from promptseg.app.viewer import STATIC, library_path
from promptseg.errors import MissingExtraError, PromptsegError

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["anatomy_names", "build_page", "mount_ui", "require_library"]

VIEWER = "/viewer"
NOT_BUILT = "the page's viewer library is not built; run: python -m promptseg.app.viewer.build"
OFFLINE = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
LOADER = f"""
const root = element.querySelector("#promptseg");
if (!root.dataset.started) {{
  root.dataset.started = "true";
  import(new URL("{VIEWER}/main.js", document.baseURI).href).then((page) => page.mount(root));
}}
"""
# Gradio's own boxes would leave margins around the page and clip it.
FRAME_CSS = "gradio-app, .gradio-container, body { margin: 0 !important; padding: 0 !important; overflow: hidden; }"


def anatomy_names() -> list[str]:
    """Return the names of structures that exports know codes for, sorted."""
    table = files("promptseg.export") / "anatomy.csv"
    return sorted(row["name"] for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines()))


def build_page() -> Any:
    """Return the page as ``gradio.Blocks``.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    # What keeps Gradio quiet must not forbid a model's download that a person asks for.
    if not os.environ.get("PROMPTSEG_OFFLINE"):
        os.environ["PROMPTSEG_OFFLINE"] = os.environ.get("HF_HUB_OFFLINE") or "0"
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    try:
        import gradio
    except ModuleNotFoundError as exc:
        raise MissingExtraError("gradio", "app") from exc
    with gradio.Blocks(title="promptseg", analytics_enabled=False, fill_width=True, fill_height=True) as page:
        gradio.HTML(html_template='<div id="promptseg"></div>', js_on_load=LOADER, apply_default_css=False)
    return page


def require_library() -> None:
    """Check that the page has its one third-party library.

    Raises:
        PromptsegError: it was not built.
    """
    if not library_path().is_file():
        raise PromptsegError(NOT_BUILT)


def mount_ui(app: FastAPI) -> FastAPI:
    """Mount the page at / and its files at /viewer. Call it after all other routes: what is left over is Gradio's.

    Raises:
        MissingExtraError: Gradio is not installed.
        PromptsegError: the viewer's library is not built.
    """
    require_library()
    page = build_page()
    import gradio
    from fastapi.staticfiles import StaticFiles

    names = anatomy_names()

    @app.get(f"{VIEWER}/anatomy.json", include_in_schema=False)
    async def anatomy() -> list[str]:
        return names

    app.mount(VIEWER, StaticFiles(directory=STATIC), name="viewer")
    mounted: FastAPI = gradio.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        enable_monitoring=False,
        show_error=False,
        ssr_mode=False,
        theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=FRAME_CSS,
        head=f'<link rel="stylesheet" href="{VIEWER}/app.css">',
    )
    return mounted
