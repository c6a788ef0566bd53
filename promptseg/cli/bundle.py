"""``promptseg bundle``: everything for a machine without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.terminal import tell, wrote

__all__ = ["bundle_command"]


def bundle_command(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="New folder to fill.")] = None,
    extras: Annotated[
        str, typer.Option(help="Of promptseg, with commas between: app, sam, wholebody, ...", metavar="NAMES")
    ] = "",
    model: Annotated[list[str] | None, typer.Option(help="Weights of this model, pulled before. Repeatable.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Weights of this whole-body task (total_fast), pulled before. Repeatable.")
    ] = None,
    wheel: Annotated[Path | None, typer.Option(help="promptseg's own wheel; built where there is none.")] = None,
    bring: Annotated[
        Path | None, typer.Option(help="On the other machine: take this bundle's weights over.", metavar="DIR")
    ] = None,
) -> None:
    """Gather packages and weights for a machine of this system and Python that has no network.

    INSTALL.txt in the folder says what to type there.
    """
    from promptseg.bundle import BundleRequest
    from promptseg.bundle import bring as bring_weights
    from promptseg.bundle import bundle as fill

    if (output is None) == (bring is None):
        raise typer.BadParameter("expected -o DIR, or --bring DIR on the machine without a network")
    if bring is not None:
        came = bring_weights(bring)
        tell([f"weights: {name}" for name in came] or ["no weights in it"], came)
        return
    if output is not None:
        names = tuple(name.strip() for name in extras.split(",") if name.strip())
        made = wrote(fill(output, BundleRequest(names, tuple(model or ()), tuple(task or ()), wheel)))
        tell([f"wrote {name}" for name in made], {"files": made})
