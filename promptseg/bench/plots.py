"""A result as pictures: how Dice grows with clicks. Needs matplotlib (the extra ``bench``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.bench.result import BenchResult, CaseResult, mean_of
from promptseg.errors import MissingExtraError
from promptseg.io.atomic import all_or_nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_clicks", "plot_modalities", "plot_volumes"]

# Okabe & Ito, "Color Universal Design" (2008); the first model, which the run is about, is the strong blue.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
INK, QUIET, GRID = "#222222", "#6b6b6b", "#e4e4e4"
DPI = 150
SUBTITLE_IN = 0.34  # below the upper edge
DODGE = 0.14  # between two models' dots, of the distance between two columns of dots
LABEL_GAP = 0.047  # smallest distance of two labels, of the height of the axes


def plot_clicks(result: BenchResult, path: Path) -> Path:
    """Draw mean Dice after each click, and after a box or scribble alone, without thin vessels; save it as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        WriteError: the file cannot be written.
    """
    rows = _main_rows(result, 2)
    figure = _figure(9.2, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(3.1, 1.0), sharey=True)
    clicks = max(len(row.curves["dice"]) for row in rows)
    lines = {model: _mean_curve(_of(rows, model), "dice") for model in result.models}
    _draw_lines(left, lines, first=1, marks=True)
    _style(left, "clicks", range(1, clicks + 1))
    left.set_xlim(0.7, clicks + 0.3)
    _label_ends(left, {model: curve[-1] for model, curve in lines.items()}, clicks)
    for place, column in enumerate(("dice@box", "dice@scribble")):
        for number, (model, color) in enumerate(_colors(result.models)):
            value = mean_of(row.metrics.get(column, math.nan) for row in _of(rows, model))
            x = place + DODGE * (number - (len(result.models) - 1) / 2)  # side by side: equal values stay visible
            right.plot(x, value, "o", color=color, markersize=9 if number == 0 else 7, markeredgecolor="white")
    _style(right, "", (0, 1), ("box", "scribble"))
    right.set_xlim(-0.6, 1.6)
    right.tick_params(labelleft=False)
    _title(figure, "Dice after simulated prompts", f"Mean over {_count(rows)} objects in 2D{_without(result, rows, 2)}")
    return _save(figure, path)


def plot_modalities(result: BenchResult, path: Path) -> Path:
    """Draw mean Dice after each click, one small panel per modality, without thin vessels; save it as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        WriteError: the file cannot be written.
    """
    rows = _main_rows(result, 2)
    modalities = sorted({row.case.modality for row in rows}, key=lambda m: -_count(_with(rows, m)))
    columns = min(3, len(modalities))
    lines_of_panels = math.ceil(len(modalities) / columns)
    figure = _figure(3.1 * columns + 1.2, 2.5 * lines_of_panels + 1.1)
    panels = figure.subplots(lines_of_panels, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, modality in zip(panels, modalities, strict=False):
        own = _with(rows, modality)
        clicks = max(len(row.curves["dice"]) for row in own)
        _draw_lines(panel, {model: _mean_curve(_of(own, model), "dice") for model in result.models}, first=1)
        _style(panel, "clicks" if panel in panels[len(modalities) - columns :] else "", range(1, clicks + 1))
        panel.set_title(f"{modality}  ({_count(own)})", loc="left", fontsize=10, color=INK, fontweight="bold")
        panel.tick_params(labelbottom=True)
    for panel in panels[len(modalities) :]:
        panel.set_visible(False)
    _legend(figure, result.models)
    _title(figure, "Dice over clicks, by modality", f"Means; number of objects in brackets{_without(result, rows, 2)}")
    return _save(figure, path)


def plot_volumes(result: BenchResult, path: Path) -> Path:
    """Draw mean Dice and NSD after the box and each click in 3D, without thin vessels; save it as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        WriteError: the file cannot be written.
    """
    rows = _main_rows(result, 3)
    figure = _figure(9.2, 4.6)
    panels = figure.subplots(1, 2, sharey=True)
    models = tuple(dict.fromkeys(row.model for row in rows))
    for panel, name, title in zip(panels, ("dice", "nsd"), ("Dice", "Surface Dice (NSD)"), strict=True):
        lines = {model: _mean_curve(_of(rows, model), name) for model in models}
        rounds = max(len(curve) for curve in lines.values())
        _draw_lines(panel, lines, first=0, marks=True)
        _style(panel, "clicks after the box", range(rounds), ("box", *map(str, range(1, rounds))))
        panel.set_xlim(-0.3, rounds - 0.7)
        panel.set_title(title, loc="left", fontsize=10, color=INK, fontweight="bold")
        _label_ends(panel, {model: curve[-1] for model, curve in lines.items()}, rounds - 1)
    subtitle = f"Mean over {_count(rows)} objects in 3D{_without(result, rows, 3)}"
    _title(figure, "A box on the middle slice, then clicks", subtitle)
    return _save(figure, path)


def _main_rows(result: BenchResult, dimension: int) -> tuple[CaseResult, ...]:
    """Return the rows that are not thin vessels; all where there are no others."""
    rows = result.of(dimension)
    return tuple(row for row in rows if not row.case.is_thin_vessel) or rows


def _of(rows: Sequence[CaseResult], model: str) -> list[CaseResult]:
    return [row for row in rows if row.model == model]


def _with(rows: Sequence[CaseResult], modality: str) -> list[CaseResult]:
    return [row for row in rows if row.case.modality == modality]


def _count(rows: Sequence[CaseResult]) -> int:
    return len({row.case.name for row in rows})


def _without(result: BenchResult, rows: Sequence[CaseResult], dimension: int) -> str:
    left_out = _count(result.of(dimension)) - _count(rows)
    return f"; {left_out} thin vessel{'s' if left_out > 1 else ''} not included" if left_out else ""


def _mean_curve(rows: Sequence[CaseResult], name: str) -> list[float]:
    rounds = max((len(row.curves.get(name, ())) for row in rows), default=0)
    return [mean_of(row.curves[name][n] for row in rows if n < len(row.curves.get(name, ()))) for n in range(rounds)]


def _colors(models: Sequence[str]) -> list[tuple[str, str]]:
    return [(model, COLORS[number % len(COLORS)]) for number, model in enumerate(models)]


def _figure(width_in: float, height_in: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise MissingExtraError("matplotlib", "bench") from exc
    return Figure(figsize=(width_in, height_in), dpi=DPI, facecolor="white", layout="constrained")


def _draw_lines(axes: Any, lines: dict[str, list[float]], first: int, marks: bool = False) -> None:
    """Draw the first model last and thickest: it lies on top."""
    for number, (model, color) in reversed(list(enumerate(_colors(tuple(lines))))):
        curve = lines[model]
        strong = number == 0
        axes.plot(
            range(first, first + len(curve)),
            curve,
            color=color,
            linewidth=2.6 if strong else 1.6,
            marker="o" if marks else None,
            markersize=5 if strong else 3.5,
            markeredgecolor="white",
            markeredgewidth=0.6,
            solid_capstyle="round",
        )


def _style(axes: Any, x_label: str, ticks: Sequence[int], tick_labels: Sequence[str] | None = None) -> None:
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.set_xticks(list(ticks), list(tick_labels) if tick_labels else [str(t) for t in ticks])
    axes.set_xlabel(x_label, color=QUIET, fontsize=9)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=QUIET, labelsize=9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def _label_ends(axes: Any, ends: dict[str, float], x: float) -> None:
    """Write each model's name and last value beside its line; names that would touch are moved apart."""
    colors = dict(_colors(tuple(ends)))
    heights = _spread([value for _, value in sorted(ends.items(), key=lambda item: item[1])])
    for (model, value), height in zip(sorted(ends.items(), key=lambda item: item[1]), heights, strict=True):
        weight = "bold" if model == next(iter(ends)) else "normal"
        axes.annotate(
            f"{model} {value:.2f}",
            (x, height),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            color=colors[model],
            fontsize=9,
            fontweight=weight,
            annotation_clip=False,
        )


def _spread(values: Sequence[float]) -> list[float]:
    """Move ascending heights apart until neighbours are ``LABEL_GAP`` from each other, inside 0 ... 1."""
    placed: list[float] = []
    for value in values:
        placed.append(max(value, placed[-1] + LABEL_GAP) if placed else value)
    ceiling = 1.0
    for number in range(len(placed) - 1, -1, -1):
        placed[number] = min(placed[number], ceiling)
        ceiling = placed[number] - LABEL_GAP
    return placed


def _legend(figure: Any, models: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=color, linewidth=2.6 if number == 0 else 1.6, label=model)
        for number, (model, color) in enumerate(_colors(models))
    ]
    figure.legend(
        handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9, labelcolor=INK
    )


def _title(figure: Any, title: str, subtitle: str) -> None:
    width, height = figure.get_size_inches()
    left, below = 0.1 / width, 1 - SUBTITLE_IN / height
    figure.suptitle(f"{title}\n", x=left, ha="left", fontsize=13, color=INK, fontweight="bold")
    figure.text(left, below, subtitle, ha="left", va="center", fontsize=9, color=QUIET)


def _save(figure: Any, path: Path) -> Path:
    with all_or_nothing(path, parents=True) as folder:
        figure.savefig(folder / path.name, metadata={"Software": None})  # no version inside: same run, same bytes
    return path
