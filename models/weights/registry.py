"""The list of models that a user can name, as data: the package's rows and the user's own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from promptseg.errors import ModelError, UnknownModelError, did_you_mean
from promptseg.models.settings import model_settings

__all__ = ["ROW_FILE", "ModelCard", "WeightFile", "card_from_row", "model_card", "model_cards"]

ROW_FILE = "model.toml"  # a user's own model: <models folder>/<id>/model.toml


@dataclass(frozen=True)
class WeightFile:
    """One file that a model needs.

    Attributes:
        name: file name inside the model's folder; may hold "/".
        role: "checkpoint", or "encoder" and "decoder" of an ONNX pair.
        urls: where it can be fetched, in order; () when only a person can.
        hashes: "algorithm:hex" that its content must have; () when nobody published one.
        hash_source: where the hashes were read, or why there is none.
        bytes: its size; 0 when unknown.
        how: what a person does when no url works.
    """

    name: str
    role: str = "checkpoint"
    urls: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    hash_source: str = ""
    bytes: int = 0
    how: str = ""


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
        arch: the architecture within the family, e.g. "vit_b"; "" where the family has one only.
        input_px: edge of the square that the encoder sees, in pixels; 0 where the family decides.
        preprocess: how a slice becomes that square, see ``families/frames.py``.
        score: "iou" (the model's own estimate) or "stability" (computed, the model's estimate is untrained).
        advice: what it is good for, one or two sentences.
        files: what must be on disk; () when the weights are inside the package.
        user: True for a model that the user added.
    """

    id: str
    family: str
    title: str
    dimensions: int
    prompts: tuple[str, ...]
    licence: str
    commercial_use: bool
    source: str
    arch: str = ""
    input_px: int = 0
    preprocess: str = ""
    score: str = "iou"
    advice: str = ""
    files: tuple[WeightFile, ...] = field(default=())
    user: bool = False

    @property
    def text(self) -> str:
        """The card's long form (Markdown): ``cards/<id>.md`` where somebody wrote one, else made from the row."""
        page = resources.files("promptseg.models") / "cards" / f"{self.id}.md"
        if not self.user and page.is_file():
            return page.read_text(encoding="utf-8")
        return _page(self)

    def file(self, role: str) -> WeightFile | None:
        """The file with this role, or None."""
        return next((f for f in self.files if f.role == role), None)


def card_from_row(model_id: str, row: dict[str, Any], *, user: bool = False) -> ModelCard:
    """Make a card from a TOML table.

    Raises:
        ModelError: a field is missing or unknown.
    """
    row = dict(row)
    known = {f.name for f in fields(ModelCard)} - {"id", "user"}
    if unknown := sorted(set(row) - known):
        raise ModelError(f"the row of model {model_id!r} has unknown fields: {', '.join(unknown)}")
    row["prompts"] = tuple(row.get("prompts", ()))
    try:
        files = tuple(_weight_file(entry) for entry in row.pop("files", []))
        return ModelCard(id=model_id, files=files, user=user, **row)
    except TypeError as exc:
        raise ModelError(f"the row of model {model_id!r} is incomplete: {exc}") from exc


def _weight_file(entry: dict[str, Any]) -> WeightFile:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return WeightFile(**values)


@cache
def _package_cards() -> dict[str, ModelCard]:
    text = (resources.files("promptseg.models") / "registry.toml").read_text(encoding="utf-8")
    return {model_id: card_from_row(model_id, row) for model_id, row in tomllib.loads(text).items()}


def _user_cards(folder: Path) -> dict[str, ModelCard]:
    """Rows that the user added; a broken one is reported when it is asked for, not when others are listed."""
    found: dict[str, ModelCard] = {}
    for path in sorted(folder.glob(f"*/{ROW_FILE}")) if folder.is_dir() else []:
        try:
            found[path.parent.name] = _user_card(path)
        except ModelError:
            continue
    return found


def _user_card(path: Path) -> ModelCard:
    model_id = path.parent.name
    try:
        row = tomllib.loads(path.read_text(encoding="utf-8"))[model_id]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as exc:
        raise ModelError(f"expected a table [{model_id}] in {path}: {type(exc).__name__} {exc}") from exc
    return card_from_row(model_id, row, user=True)


def model_cards(models_dir: Path | None = None) -> dict[str, ModelCard]:
    """Return every known model by id: the package's in the registry's order, then the user's own.

    Args:
        models_dir: the folder with the user's models; the one in the settings when None.
    """
    own = _user_cards(models_dir or model_settings().models_dir)
    package = _package_cards()
    return package | {model_id: card for model_id, card in own.items() if model_id not in package}


def model_card(model_id: str, models_dir: Path | None = None) -> ModelCard:
    """Return one model's card.

    Raises:
        UnknownModelError: no such id; near ids are listed.
        ModelError: the row of a model that the user added is broken.
    """
    cards = model_cards(models_dir)
    own = (models_dir or model_settings().models_dir) / model_id / ROW_FILE
    if model_id not in cards and Path(model_id).name == model_id and own.is_file():
        return _user_card(own)
    if model_id not in cards:
        raise UnknownModelError(
            f"expected a model id ({', '.join(cards)}), got {model_id!r}{did_you_mean(model_id, cards)}"
        )
    return cards[model_id]


def _page(card: ModelCard) -> str:
    """A card's page made from its row."""
    lines = [f"# {card.id}", "", f"{card.title}.", ""]
    if card.advice:
        lines.append(f"- **Advice** {card.advice}")
    if card.input_px:
        lines.append(f"- **Input** {card.input_px} px square, preprocessing `{card.preprocess}`; {card.dimensions}D")
    lines.append(f"- **Prompts** {', '.join(card.prompts)}")
    use = "commercial use allowed" if card.commercial_use else "no commercial use; needs --accept-licence"
    lines.append(f"- **Licence** {card.licence} ({use})")
    lines.append(f"- **Source** {card.source}")
    lines += [_file_line(f) for f in card.files]
    lines.append("- **Use**: research only; not a medical device.")
    return "\n".join(lines) + "\n"


def _file_line(file: WeightFile) -> str:
    size = f", {file.bytes:,} bytes" if file.bytes else ""
    hashes = ", ".join(file.hashes) or "no published hash: the first download asks for --trust-on-first-use"
    source = f" ({file.hash_source})" if file.hash_source else ""
    where = f" from {file.urls[0]}" if file.urls else ""
    how = f"; by hand: {file.how}" if file.how else ""
    return f"- **File** `{file.name}`{size}{where}: {hashes}{source}{how}"
