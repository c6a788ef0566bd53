"""The whole benchmark in one call: what ``promptseg bench`` does, without a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from promptseg.bench.baselines import BoxFillPredictor, GrabCutPredictor
from promptseg.bench.cases import Case, read_cases
from promptseg.bench.chains import SessionChain
from promptseg.bench.plots import plot_clicks, plot_modalities, plot_volumes
from promptseg.bench.protocol2d import Rounds
from promptseg.bench.protocol3d import Rounds3D
from promptseg.bench.result import BenchResult
from promptseg.bench.run import ProgressCallback, run_bench, run_bench_3d
from promptseg.bench.writers import write_csv, write_json, write_markdown
from promptseg.engine.options import EngineOptions
from promptseg.errors import MissingExtraError, SettingsError, UnknownModelError, did_you_mean
from promptseg.models.loading import load_predictor
from promptseg.models.predictor import Predictor
from promptseg.models.weights.registry import model_cards

__all__ = ["BASELINES", "DATA_VARIABLE", "BenchOptions", "BenchRun", "bench", "load_bench_predictor", "write_bench"]

BASELINES: dict[str, Callable[[], Predictor]] = {"grabcut": GrabCutPredictor, "box-fill": BoxFillPredictor}
DEFAULT_MODELS = ("builtin", "classical", *BASELINES)
DATA_VARIABLE = "PROMPTSEG_TEST_DATA"  # the root of a case list's paths, where none is given


@dataclass(frozen=True)
class BenchOptions:
    """What to run.

    Attributes:
        dimensions: the protocols, of 2 and 3.
        limit: at most so many cases per protocol, spread evenly over the list; None: all.
        rounds: clicks in 2D; None: ten, and none after the box.
        rounds_3d: clicks in 3D and whether the object's range is given; None: five, and it is.
        device: see ``promptseg.models.runtime.choose_device``.
        mode: of the engine in 3D, see ``EngineOptions``.
    """

    dimensions: tuple[int, ...] = (2,)
    limit: int | None = None
    rounds: Rounds | None = None
    rounds_3d: Rounds3D | None = None
    device: str = "auto"
    mode: str = "auto"


@dataclass(frozen=True)
class BenchRun:
    """What came out.

    Attributes:
        result: all rows; see ``promptseg.bench.tables`` for printing.
        files: what was written.
        notes: sentences for a person, e.g. that plots need another package.
    """

    result: BenchResult
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def bench(
    cases_path: str | Path,
    models: Sequence[str] = DEFAULT_MODELS,
    out: str | Path | None = None,
    *,
    root: str | Path | None = None,
    options: BenchOptions | None = None,
    progress: ProgressCallback | None = None,
) -> BenchRun:
    """Run models and baselines on a case list and write tables and plots.

    Args:
        cases_path: a TOML case list, or a folder with ``images/`` and ``labels/`` (see ``promptseg.bench.cases``).
        models: ids of the registry, ``"grabcut"`` and ``"box-fill"``; the first one is drawn strongest.
        out: folder for ``bench.json``, ``cases_2d.csv``, ``clicks.png``, ...; None writes nothing.
        root: folder that the list's paths start from; None: ``$PROMPTSEG_TEST_DATA``, else the list's own folder.
        options: which protocols, how many cases and clicks.
        progress: called before every run (one model on one case) and at the end.

    Raises:
        SettingsError: the case list or an option is wrong, or no case is left.
        UnknownModelError: no such model.
        ReadError: the case list cannot be read. (A case that cannot be read is listed in ``result.skipped``.)
        WriteError: a file cannot be written.
    """
    options = options or BenchOptions()
    cases = read_cases(cases_path, root or os.environ.get(DATA_VARIABLE) or None)
    predictors = [load_bench_predictor(model, options.device) for model in models]
    parts = []
    for dimension in options.dimensions:
        chosen = _chosen(cases, dimension, options.limit)
        if dimension == 2:
            parts.append(run_bench(chosen, predictors, rounds=options.rounds, progress=progress))
        else:
            engine = EngineOptions(mode=options.mode)
            chains = [SessionChain(predictor, engine) for predictor in predictors]
            parts.append(run_bench_3d(chosen, chains, rounds=options.rounds_3d, progress=progress))
    result = BenchResult(
        tuple(row for part in parts for row in part.rows), tuple(item for part in parts for item in part.skipped)
    )
    if out is None:
        return BenchRun(result, ())
    files, notes = write_bench(result, Path(out), {"cases": Path(cases_path).name, **_plain(options)})
    return BenchRun(result, files, notes)


def load_bench_predictor(model: str, device: str = "auto") -> Predictor:
    """Return a baseline by its name, else the registry's model of this id.

    Raises:
        UnknownModelError: neither.
        DeviceError, ModelError: as ``promptseg.models.loading.load_predictor``.
    """
    if model in BASELINES:
        return BASELINES[model]()
    known = [*model_cards(), *BASELINES]
    if model not in known:
        raise UnknownModelError(
            f"expected a model id or a baseline ({', '.join(known)}), got {model!r}{did_you_mean(model, known)}"
        )
    return load_predictor(model, device)


def write_bench(
    result: BenchResult, folder: Path, settings: dict[str, Any] | None = None
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write JSON, Markdown, CSV and plots into ``folder``; return the files, and notes about what could not be drawn.

    Raises:
        WriteError: a file cannot be written.
    """
    files = [write_json(result, folder / "bench.json", settings)]
    files.append(write_markdown(result, folder / "means.md"))
    files += [write_csv(result, folder / f"cases_{dimension}d.csv", dimension) for dimension in result.dimensions]
    try:
        if 2 in result.dimensions:
            files += [plot_clicks(result, folder / "clicks.png"), plot_modalities(result, folder / "modalities.png")]
        if 3 in result.dimensions:
            files.append(plot_volumes(result, folder / "volumes.png"))
    except MissingExtraError as exc:
        return tuple(files), (f"no plots were drawn: {exc}",)
    return tuple(files), ()


def _chosen(cases: Sequence[Case], dimension: int, limit: int | None) -> list[Case]:
    """Return the protocol's cases, at most ``limit``, spread evenly over the list.

    Raises:
        SettingsError: unknown protocol, impossible limit, or no case takes part.
    """
    if dimension not in (2, 3) or (limit is not None and limit < 1):
        raise SettingsError(f"expected dimensions of 2 and 3 and a limit >= 1, got {dimension} and {limit}")
    taking_part = [case for case in cases if dimension in case.dimensions]
    if not taking_part:
        raise SettingsError(f"expected cases with dimensions = [{dimension}] in the list; there are none")
    if limit is None or limit >= len(taking_part):
        return taking_part
    return [taking_part[(number * len(taking_part)) // limit] for number in range(limit)]


def _plain(options: BenchOptions) -> dict[str, Any]:
    rounds = {"rounds": asdict(options.rounds or Rounds()), "rounds_3d": asdict(options.rounds_3d or Rounds3D())}
    return {**asdict(options), "dimensions": list(options.dimensions), **rounds}
