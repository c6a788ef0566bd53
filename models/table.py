"""The table of models for people, made from the registry so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterable

from promptseg.models.weights.registry import ModelCard

__all__ = ["markdown_table", "size_text"]


def size_text(count: int) -> str:
    """A number of bytes for people: "358 MB"; "?" when unknown."""
    if count <= 0:
        return "?"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.0f} GB"


def _download(card: ModelCard) -> str:
    if not card.files:
        return "none" if card.dimensions == 2 else "own package"
    total = sum(f.bytes for f in card.files) if all(f.bytes for f in card.files) else 0
    return size_text(total)


def _checked(card: ModelCard) -> str:
    if not card.files:
        return "–"
    kinds = {h.partition(":")[0] for f in card.files for h in f.hashes}
    return ", ".join(sorted(kinds)) if all(f.hashes for f in card.files) else "on first use"


def markdown_table(cards: Iterable[ModelCard]) -> str:
    """The table that the README shows: one row per model, ends with a newline."""
    rows = ["| id | what it is | input | download | hash | licence |", "|---|---|---|---|---|---|"]
    for card in cards:
        edge = f"{card.input_px} px" if card.input_px else ("3D" if card.dimensions == 3 else "any")
        licence = card.licence if card.commercial_use else f"{card.licence} (no commercial use)"
        rows.append(f"| `{card.id}` | {card.title} | {edge} | {_download(card)} | {_checked(card)} | {licence} |")
    return "\n".join(rows) + "\n"
