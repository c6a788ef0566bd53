"""The list of models that a user can name, as data."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from promptseg.errors import UnknownModelError, did_you_mean

__all__ = ["ModelCard", "model_card", "model_cards"]


@dataclass(frozen=True)
class ModelCard:
    """One row of ``registry.toml``.

    Attributes:
        id: what a user types.
        family: the class in ``promptseg.models.families`` that runs it.
        title: one line for people.
        dimensions: 2 for slice by slice, 3 for true 3D.
        prompts: kinds of prompt it understands.
        licence: SPDX id or the licence's own name.
        commercial_use: whether that licence allows it.
        source: where the weights come from.
    """

    id: str
    family: str
    title: str
    dimensions: int
    prompts: tuple[str, ...]
    licence: str
    commercial_use: bool
    source: str

    @property
    def text(self) -> str:
        """The card's long form (Markdown), ``cards/<id>.md``."""
        return (resources.files("promptseg.models") / "cards" / f"{self.id}.md").read_text(encoding="utf-8")


@cache
def model_cards() -> dict[str, ModelCard]:
    """Return every known model by id, in the registry's order."""
    text = (resources.files("promptseg.models") / "registry.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)
    return {
        model_id: ModelCard(id=model_id, **{**row, "prompts": tuple(row["prompts"])}) for model_id, row in rows.items()
    }


def model_card(model_id: str) -> ModelCard:
    """Return one model's card.

    Raises:
        UnknownModelError: no such id; near ids are listed.
    """
    cards = model_cards()
    if model_id not in cards:
        raise UnknownModelError(
            f"expected a model id ({', '.join(cards)}), got {model_id!r}{did_you_mean(model_id, cards)}"
        )
    return cards[model_id]
