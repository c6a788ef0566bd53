"""``promptseg grand-challenge``: what an algorithm container of grand-challenge.org runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.options import DeviceName
from promptseg.cli.terminal import tell

__all__ = ["grand_challenge"]


def grand_challenge(
    source: Annotated[Path, typer.Option("--input", help="Folder with images/<interface>/ and prompts.")] = Path(
        "/input"
    ),
    output: Annotated[Path, typer.Option("--output", help="Folder for the mask and results.json.")] = Path("/output"),
    interface: Annotated[str, typer.Option(help="Folder of the mask below output/images.")] = "segmentation",
    model: Annotated[str, typer.Option(help="Model id; its weights must lie in the container.")] = "builtin",
    device: DeviceName = "auto",
) -> None:
    """Segment one case as a grand-challenge.org algorithm: /input/images/*/x.mha and JSON prompts to /output."""
    from promptseg.batch.grand_challenge import ChallengeRequest, run_case

    lines = run_case(ChallengeRequest(source, output, interface, model, device))
    tell(lines, {"lines": lines})
