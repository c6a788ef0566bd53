"""``promptseg models ...``: the models that a user can name."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["models_app"]

models_app = typer.Typer(help="Models that a user can name.", no_args_is_help=True)


@models_app.command("list")
def models_list() -> None:
    """List the models that can be named with --model."""
    from rich.console import Console
    from rich.table import Table

    from promptseg.models.registry import model_cards

    table = Table("id", "what it is", "prompts", "licence", box=None, header_style="bold", pad_edge=False)
    for card in model_cards().values():
        table.add_row(card.id, card.title, ", ".join(card.prompts), card.licence)
    Console().print(table)


@models_app.command("show")
def models_show(model_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Print a model's card."""
    from promptseg.models.registry import model_card

    card = model_card(model_id)
    use = "commercial use allowed" if card.commercial_use else "no commercial use"
    typer.echo(f"{card.id}: {card.title}\nfamily {card.family}, {card.dimensions}D; licence {card.licence} ({use})")
    typer.echo(f"source: {card.source}\n\n{card.text.strip()}")
